// Names and values, in words, of the parts that the service makes from a column of the training table.
const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];
const WEEKDAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const PART_NAMES = { day: 'date', age_days: 'age', month: 'month', weekday: 'weekday', hour: 'hour', hours: 'time of day', length: 'length', words: 'words' };
const PART_VALUES = {
  age_days: days => count(Math.round(days), 'day'),
  month: month => MONTHS[month - 1],
  weekday: day => WEEKDAYS[day],
  hour: hour => hour + ':00',
  length: length => count(length, 'character'),
  words: words => count(words, 'word'),
  filled: filled => filled ? 'filled' : 'empty',
};

const short = value => typeof value === 'number' ? value.toLocaleString('en', { maximumSignificantDigits: 4 }) : value;

// Returns the value of a reason; where it is the cell itself, as the table writes it.
function shownValue(reason) {
  const { control, part } = parts.get(reason.field) || {};
  if (!control) return short(reason.value);
  return part in PART_VALUES ? PART_VALUES[part](reason.value) : control.value || short(reason.value);
}

// Returns a field's label, with the part that a reason is about.
function reasonLabel(name) {
  const label = controlOf(name).labels[0].textContent;
  const part = PART_NAMES[parts.get(name)?.part];
  return part ? label + ', ' + part : label;
}
