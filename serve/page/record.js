const form = $('record');
const controls = [...form.querySelectorAll('[data-field]')];
let timer, pending;

function valueOf(control) {
  const text = control.value.trim();
  if (!text) return null;
  if (control.dataset.kind === 'text') return control.tagName === 'SELECT' ? control.value : text;
  return Number.isFinite(Number(text)) ? Number(text) : text; // text that is not a number is sent as it is, for the service to report
}

const currentRecord = () => Object.fromEntries(controls.map(control => [control.dataset.field, valueOf(control)]));
const controlOf = name => controls.find(each => each.dataset.field === name);

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

function fieldLink(name) {
  const control = controlOf(name);
  const group = control.closest('details').querySelector('.title').textContent;
  const label = control.labels[0].textContent;
  return make('button', { type: 'button', className: 'link', onclick: () => focusField(name) }, control.closest('details').hasAttribute('data-mixed') ? label : group + ': ' + label);
}

async function score() {
  clearTimeout(timer);
  pending?.abort();
  const controller = pending = new AbortController();
  try {
    const answer = await post('predict?explain=true', 'application/json', JSON.stringify(currentRecord()), controller.signal);
    controls.forEach(control => setFieldError(control, ''));
    showScore(answer);
  } catch (error) {
    if (error.name !== 'AbortError') showScoreError(error);
  }
}

function showScore(answer) {
  $('score').replaceChildren(
    make('span', { className: 'value' }, percent(answer.probability)), ' ',
    make('span', { className: 'badge ' + (answer.decision ? 'pass' : '') }, answer.decision ? 'Decision: yes' : 'Decision: no'), ' ',
    make('span', { className: 'small muted threshold' }, 'The threshold for a yes is ' + percent(answer.threshold) + '.'));
  const warnings = answer.warnings.map(text => make('li', {}, text));
  $('reasons').replaceChildren(
    ...(warnings.length ? [make('h3', {}, 'Warnings'), make('ul', { className: 'plain warnings' }, ...warnings)] : []),
    ...reasonElements(answer.reasons));
}

function reasonElements(reasons) {
  const largest = Math.max(...reasons.top.map(each => Math.abs(each.contribution)), Math.abs(reasons.other), 1e-9);
  const item = (label, contribution, value = '') => {
    const bar = make('span', { className: contribution < 0 ? 'negative' : 'positive' });
    bar.style.width = 50 * Math.abs(contribution) / largest + '%';
    const effect = Math.abs(contribution) < 0.005 ? 'no effect' : contribution > 0 ? 'raises the score' : 'lowers the score';
    const track = make('span', { className: 'track' }, bar);
    track.setAttribute('aria-hidden', 'true');
    return make('li', {}, label, make('span', { className: 'effect small' }, value + effect + ', odds × ' + oddsFactor(contribution)), track);
  };
  const items = reasons.top.map(each => item(fieldLink(each.field), each.contribution, (each.value === null ? 'unknown' : short(each.value)) + ': '));
  const calibrated = reasons.scale === 'log-odds';
  const start = calibrated ? 'The starting point is ' + percent(1 / (1 + Math.exp(-reasons.base))) + '. ' : '';
  const note = calibrated ? '' : ' The final calibration of the probability is not included.';
  return [
    make('h3', {}, 'Why this score?'),
    make('ul', { className: 'reasons' }, ...items, item(make('span', {}, 'All other fields'), reasons.other)),
    make('p', { className: 'small muted' }, start + 'Each field multiplies the odds; together they give the score. They show what the model relies on, not what causes the outcome.' + note)];
}

const oddsFactor = contribution => { const factor = Math.exp(contribution); return factor >= 100 ? Math.round(factor).toLocaleString('en') : String(+factor.toPrecision(2)); };
const short = value => typeof value === 'number' ? value.toLocaleString('en', { maximumSignificantDigits: 4 }) : value;

function showScoreError(error) {
  controls.forEach(control => setFieldError(control, ''));
  const invalid = error.problems.map(problem => ({ problem, control: controlOf(problem.field) })).filter(each => each.control);
  invalid.forEach(({ problem, control }) => { setFieldError(control, advice(problem)); control.closest('details').open = true; });
  const text = invalid.length ? 'No score yet: ' + count(invalid.length, 'field') + ' to fix.' : 'No score: ' + error.message;
  $('score').replaceChildren(make('span', { className: 'error' }, text));
  $('reasons').replaceChildren(...(invalid.length ? [make('ul', { className: 'plain' }, ...invalid.map(({ problem }) =>
    make('li', {}, fieldLink(problem.field), ' ' + advice(problem))))] : []));
}

// Copies a row of a list into the form, to show its reasons.
function explainRow(row) {
  $('find').value = '';
  filterFields();
  for (const control of controls) {
    const value = row[control.dataset.field] ?? '';
    if (control.tagName === 'SELECT' && ![...control.options].some(option => option.value === value)) control.add(new Option(value, value));
    control.value = value;
  }
  score();
  $('one').scrollIntoView();
  $('one-title').tabIndex = -1;
  $('one-title').focus({ preventScroll: true });
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
form.addEventListener('reset', () => setTimeout(() => { filterFields(); score(); }));
$('key')?.addEventListener('change', score);
score();
