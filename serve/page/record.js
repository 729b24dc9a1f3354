const form = $('record');
const controls = [...form.querySelectorAll('[data-field]')];
let waiting, asked;

function valueOf(control) {
  const text = control.value.trim();
  if (!text) return null;
  if (control.dataset.kind === 'text') return control.tagName === 'SELECT' ? control.value : text;
  return Number.isFinite(Number(text)) ? Number(text) : text; // what is no number is sent as it is: the service says so
}

const recordNow = () => Object.fromEntries(controls.map(control => [control.dataset.field, valueOf(control)]));

function showWrong(control, text) {
  const note = $(control.id.replace('field', 'wrong'));
  note.hidden = !text;
  note.textContent = text;
  if (text) control.setAttribute('aria-invalid', 'true'); else control.removeAttribute('aria-invalid');
}

function goTo(name) {
  const control = controls.find(each => each.dataset.field === name);
  $('find').value = '';
  find();
  control.closest('details').open = true;
  control.focus();
  control.scrollIntoView({ block: 'center' });
}

function linkTo(name) {
  const control = controls.find(each => each.dataset.field === name);
  const group = control.closest('details').querySelector('.title').textContent;
  const label = control.labels[0].textContent;
  return make('button', { type: 'button', className: 'link', onclick: () => goTo(name) }, control.closest('details').hasAttribute('data-mixed') ? label : group + ': ' + label);
}

async function score() {
  clearTimeout(waiting);
  asked?.abort();
  const mine = asked = new AbortController();
  try {
    const answer = await ask('predict?explain=true', 'application/json', JSON.stringify(recordNow()), mine.signal);
    controls.forEach(control => showWrong(control, ''));
    showScore(answer);
  } catch (error) {
    if (error.name !== 'AbortError') showRefusal(error);
  }
}

function showScore(answer) {
  $('score').replaceChildren(
    make('span', { className: 'value' }, percent(answer.probability)), ' ',
    make('span', { className: 'badge ' + (answer.decision ? 'pass' : '') }, answer.decision ? 'counts as a yes' : 'counts as a no'), ' ',
    make('span', { className: 'small soft rule' }, 'A yes begins at ' + percent(answer.threshold) + '.'));
  const warnings = answer.warnings.map(text => make('li', {}, text));
  $('why').replaceChildren(
    ...(warnings.length ? [make('h3', {}, 'Take care'), make('ul', { className: 'plain warnings' }, ...warnings)] : []),
    ...reasons(answer.reasons));
}

function reasons(found) {
  const largest = Math.max(...found.top.map(each => Math.abs(each.contribution)), Math.abs(found.other), 1e-9);
  const line = (label, contribution, value = '') => {
    const bar = make('span', { className: contribution < 0 ? 'less' : 'more' });
    bar.style.width = 50 * Math.abs(contribution) / largest + '%';
    const words = Math.abs(contribution) < 0.005 ? 'changes nothing' : contribution > 0 ? 'raises it' : 'lowers it';
    const track = make('span', { className: 'track' }, bar);
    track.setAttribute('aria-hidden', 'true');
    return make('li', {}, label, make('span', { className: 'effect small' }, value + words + ', odds × ' + times(contribution)), track);
  };
  const named = found.top.map(each => line(linkTo(each.field), each.contribution, (each.value === null ? 'not known' : short(each.value)) + ' '));
  const before = found.scale === 'log-odds' ? '' : ' Before the model’s last correction of its probabilities.';
  const from = found.scale === 'log-odds' ? 'Start at ' + percent(1 / (1 + Math.exp(-found.base))) + '. ' : '';
  return [
    make('h3', {}, 'Why'),
    make('ul', { className: 'reasons' }, ...named, line(make('span', {}, 'All other fields together'), found.other)),
    make('p', { className: 'small soft' }, from + 'Each field multiplies the odds; all together give the score. They are what the model goes by, not causes.' + before)];
}

const times = contribution => { const factor = Math.exp(contribution); return factor >= 100 ? Math.round(factor).toLocaleString('en') : String(+factor.toPrecision(2)); };
const short = value => typeof value === 'number' ? value.toLocaleString('en', { maximumSignificantDigits: 4 }) : value;

function showRefusal(error) {
  controls.forEach(control => showWrong(control, ''));
  const found = error.problems.map(problem => ({ problem, control: controls.find(each => each.dataset.field === problem.field) })).filter(each => each.control);
  found.forEach(({ problem, control }) => { showWrong(control, advice(problem)); control.closest('details').open = true; });
  const text = found.length ? 'No score yet: ' + count(found.length, 'field') + ' to mend.' : 'No score: ' + error.message;
  $('score').replaceChildren(make('span', { className: 'stop' }, text));
  $('why').replaceChildren(...(found.length ? [make('ul', { className: 'plain' }, ...found.map(({ problem }) =>
    make('li', {}, linkTo(problem.field), ' ' + advice(problem))))] : []));
}

// Puts a row of a list into the form, so that its reasons are seen.
function explain(row) {
  $('find').value = '';
  find();
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

function find() {
  const words = $('find').value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const group of form.querySelectorAll('.group')) {
    const title = group.querySelector('.title').textContent.toLowerCase();
    let any = false;
    for (const field of group.querySelectorAll('.field')) {
      const fits = words.every(word => (field.dataset.search + ' ' + title).includes(word));
      field.hidden = !fits;
      any ||= fits;
      shown += fits;
    }
    group.hidden = !any;
    if (words.length) group.open = any;
  }
  $('found').textContent = !words.length ? '' : shown ? count(shown, 'field') + ' found' : 'No field has these words: try fewer.';
}

form.addEventListener('input', event => {
  if (event.target.id === 'find') return find();
  asked?.abort();
  clearTimeout(waiting);
  waiting = setTimeout(score, 300);
});
form.addEventListener('submit', event => { event.preventDefault(); score(); });
form.addEventListener('reset', () => setTimeout(() => { find(); score(); }));
$('key')?.addEventListener('change', score);
score();
