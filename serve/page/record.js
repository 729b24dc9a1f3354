const form = $('record');
const controls = [...form.querySelectorAll('[data-field]')];
const TYPICAL = $('which').textContent;
let timer, pending;

// What the form shows short, by control: a number of a list may have more digits than its field.
const exact = new Map();
// Columns of the row that the form shows without a control of its own: inputs that the service makes from columns.
let raw = {};

function valueOf(control) {
  const isFromList = exact.get(control)?.shown === control.value;
  const text = (isFromList ? exact.get(control).value : control.value).trim();
  if (!text) return null;
  if ('raw' in page) return text; // a cell as the table writes it: 2.000 may be two thousand
  if (control.dataset.kind === 'text') return control.tagName === 'SELECT' ? control.value : text;
  return Number.isFinite(Number(text)) ? Number(text) : text; // text that is not a number is sent as it is, for the service to report
}

const isInRecord = control => control.value || !exact.get(control)?.absent;
const currentRecord = () => ({ ...raw, ...Object.fromEntries(controls.filter(isInRecord).map(control => [control.dataset.field, valueOf(control)])) });
// What the service makes from columns of the training table, by its name: the column's control and which part it is.
const parts = new Map(controls.flatMap(control => Object.entries(JSON.parse(control.dataset.parts || '{}')).map(([name, part]) => [name, { control, part }])));
const controlOf = name => controls.find(each => each.dataset.field === name) || parts.get(name)?.control;

// A part of a column, such as the month of a date, is a number; any other cell is sent as the table writes it.
const isPart = name => (parts.get(name)?.part ?? 'value') !== 'value';
const cellOf = (name, text) => !text ? null : isPart(name) && Number.isFinite(Number(text)) ? Number(text) : text;

function setFieldError(control, text) {
  const note = $(control.id.replace('field', 'error'));
  note.hidden = !text;
  note.textContent = text;
  if (text) control.setAttribute('aria-invalid', 'true'); else control.removeAttribute('aria-invalid');
}

function focusField(name) {
  const control = controlOf(name);
  $('find').value = '';
  filterFields();
  control.closest('details').open = true;
  control.focus();
  control.scrollIntoView({ block: 'center' });
}

function fieldLink(name, withGroup = true) {
  const group = controlOf(name).closest('details');
  const label = reasonLabel(name);
  const text = withGroup && !group.hasAttribute('data-mixed') ? group.querySelector('.title').textContent + ': ' + label : label;
  return make('button', { type: 'button', className: 'link', onclick: () => focusField(name) }, text);
}

async function score() {
  clearTimeout(timer);
  pending?.abort();
  const controller = pending = new AbortController();
  try {
    const answer = await post('predict?explain=all', 'application/json', JSON.stringify(currentRecord()), controller.signal);
    controls.forEach(control => setFieldError(control, ''));
    showScore(answer);
  } catch (error) {
    if (error.name !== 'AbortError') showScoreError(error);
  }
}

// Returns the uplift beside the probabilities that it is not always the difference of: an X-learner estimates each by itself.
function upliftText(answer) {
  const apart = Math.abs(answer.probability_if_treated - answer.probability_if_not - answer.uplift) >= 0.0005;
  return 'Uplift: ' + points(answer.uplift) + ' (probability ' + percent(answer.probability_if_not) + ' without treatment, '
    + percent(answer.probability_if_treated) + ' with it' + (apart ? '; the uplift has a model of its own, so it is not exactly their difference' : '') + ').';
}

function showScore(answer) {
  const days = Object.keys(answer).filter(name => /^by_\d+d$/.test(name)); // of a model of when the outcome comes
  $('score').replaceChildren(
    make('span', { className: 'value' }, percent(answer.probability)), ' ',
    make('span', { className: 'badge ' + (answer.decision ? 'pass' : '') }, answer.decision ? 'Decision: yes' : 'Decision: no'), ' ',
    ...('uplift' in answer ? [make('span', { className: 'uplift' }, upliftText(answer))] : []),
    make('span', { className: 'small muted threshold' }, 'The threshold for a yes is ' + percent(answer.threshold) + '.'),
    ...(days.length ? [make('span', { className: 'small muted by-days' }, 'Within ' + days.map(name => count(Number(name.slice(3, -1)), 'day') + ' ' + percent(answer[name])).join(', ') + '.')] : []));
  const warnings = answer.warnings.map(text => make('li', {}, text));
  $('reasons').replaceChildren(
    ...(warnings.length ? [make('h3', {}, 'Warnings'), make('ul', { className: 'plain warnings' }, ...warnings)] : []),
    ...reasonElements(answer.reasons));
}

function showScoreError(error) {
  controls.forEach(control => setFieldError(control, ''));
  const invalid = error.problems.map(problem => ({ problem, control: controlOf(problem.field) })).filter(each => each.control);
  invalid.forEach(({ problem, control }) => { setFieldError(control, advice(problem)); control.closest('details').open = true; });
  const text = invalid.length ? 'No score yet: ' + count(invalid.length, 'field') + ' to fix.' : 'No score: ' + error.message;
  $('score').replaceChildren(make('span', { className: 'error' }, text));
  $('reasons').replaceChildren(...(invalid.length ? [make('ul', { className: 'plain' }, ...invalid.map(({ problem }) =>
    make('li', {}, fieldLink(problem.field), ' ' + advice(problem))))] : []));
}

// Returns a number of a list with four significant digits, or all digits before the point; other text as it is.
function shortNumber(text) {
  const number = Number(text);
  if (!text.trim() || !Number.isFinite(number)) return text;
  return String(Math.abs(number) >= 1000 ? Math.round(number) : Number(number.toPrecision(4)));
}

// Copies a row of a list into the form, to show its reasons.
async function explainRow(row, name) {
  for (const id of ['which', 'from']) $(id).replaceChildren('These are the values of ' + name + '. ', make('a', { href: '#results' }, 'Back to the list'));
  $('from').hidden = false;
  $('find').value = '';
  filterFields();
  for (const control of controls) {
    const value = row[control.dataset.field] ?? '';
    if (control.tagName === 'SELECT' && ![...control.options].some(option => option.value === value)) control.add(new Option(value, value));
    control.value = control.dataset.kind === 'number' && !('raw' in page) ? shortNumber(value) : value;
    exact.set(control, { shown: control.value, value, absent: !(control.dataset.field in row) });
  }
  raw = 'raw' in page ? Object.fromEntries(Object.entries(row).filter(([column]) => !controls.some(each => each.dataset.field === column)).map(([column, text]) => [column, cellOf(column, text)])) : {};
  form.nextElementSibling.scrollTop = 0;
  // On a phone the reasons are below the form, beyond the screen.
  const isPhone = getComputedStyle($('from')).display !== 'none';
  const [target, focused] = isPhone ? [$('from'), $('reasons')] : [$('one'), $('one-title')];
  const scored = score();
  if (isPhone) await scored;
  target.scrollIntoView();
  focused.tabIndex = -1;
  focused.focus({ preventScroll: true });
}

function filterFields() {
  const words = $('find').value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const group of form.querySelectorAll('.group')) {
    const title = group.querySelector('.title').textContent.toLowerCase();
    let anyShown = false;
    for (const field of group.querySelectorAll('.field')) {
      const matches = words.every(word => (field.dataset.search + ' ' + title).includes(word));
      field.hidden = !matches;
      anyShown ||= matches;
      shown += matches;
    }
    group.hidden = !anyShown;
    if (words.length) group.open = anyShown;
  }
  $('found').textContent = !words.length ? '' : shown ? count(shown, 'field') + ' found' : 'No fields found. Try fewer words.';
}

form.addEventListener('input', event => {
  if (event.target.id === 'find') return filterFields();
  pending?.abort();
  clearTimeout(timer);
  timer = setTimeout(score, 300);
});
form.addEventListener('submit', event => { event.preventDefault(); score(); });
form.addEventListener('reset', () => setTimeout(() => { exact.clear(); raw = {}; $('from').hidden = true; $('which').textContent = TYPICAL; filterFields(); score(); }));
$('key')?.addEventListener('change', score);
score();
