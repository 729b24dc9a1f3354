// Why a record has its score. Fields of one group of the form are one topic: many small effects of related fields add up.
function reasonElements(reasons) {
  const topics = topicsOf(reasons.top);
  const shown = shownTopics(topics);
  const rest = topics.slice(shown.length);
  const largest = Math.max(...shown.map(topic => Math.abs(topic.effect)), 1e-9);
  const items = each => each.map(topic => topicElement(topic, largest));
  const calibrated = reasons.scale === 'log-odds';
  const start = calibrated ? 'The starting point is ' + percent(1 / (1 + Math.exp(-reasons.base))) + '. ' : '';
  const note = calibrated ? '' : ' The final calibration of the probability is not included.';
  const summary = make('summary', {}, count(rest.length, 'smaller reason') + ', together: ', make('span', { className: 'muted' }, effectText(total(rest))));
  return [
    make('h3', {}, 'Why this score?'),
    make('ul', { className: 'reasons' }, ...items(shown)),
    ...(rest.length ? [make('details', { className: 'rest' }, summary, make('ul', { className: 'reasons' }, ...items(rest)))] : []),
    make('p', { className: 'small muted' }, start + 'Each reason multiplies the odds; together they give the score. They show what the model relies on, not what causes the outcome.' + note)];
}

const total = topics => topics.reduce((sum, topic) => sum + topic.effect, 0);

// Returns the topics, largest effect first.
function topicsOf(contributions) {
  const topics = new Map();
  for (const each of contributions) {
    const group = controlOf(each.field).closest('details');
    const key = group.hasAttribute('data-mixed') ? controlOf(each.field) : group;
    const title = key === group ? group.querySelector('.title').textContent : key.labels[0].textContent;
    if (!topics.has(key)) topics.set(key, { title, effect: 0, fields: [] });
    topics.get(key).fields.push(each);
    topics.get(key).effect += each.contribution;
  }
  return [...topics.values()].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
}

// Returns the largest topics, at least three, and more until all others together matter less than the last one shown.
function shownTopics(topics) {
  let shown = 3;
  while (shown < topics.length && Math.abs(total(topics.slice(shown))) > Math.abs(topics[shown - 1].effect)) shown++;
  return topics.slice(0, shown);
}

function topicElement(topic, largest) {
  if (topic.fields.length === 1) return make('li', {}, fieldLink(topic.fields[0].field), fieldEffect(topic.fields[0]), bar(topic.effect, largest));
  const fields = topic.fields.filter(each => !isNegligible(each.contribution)).map(each => make('li', {}, fieldLink(each.field, false), fieldEffect(each)));
  const noun = parts.has(topic.fields[0].field) ? 'part' : 'field';
  const others = topic.fields.length - fields.length;
  if (others) fields.push(make('li', { className: 'muted' }, count(others, fields.length ? 'other ' + noun : noun) + ': almost no effect'));
  return make('li', {}, make('details', {},
    make('summary', {}, make('span', { className: 'topic' }, topic.title), ' ', make('span', { className: 'small muted' }, count(topic.fields.length, noun)), make('span', { className: 'effect small' }, effectText(topic.effect)), bar(topic.effect, largest)),
    make('ul', { className: 'plain small' }, ...fields)));
}

const fieldEffect = each => make('span', { className: 'effect small' }, (each.value === null ? 'unknown' : shownValue(each)) + ': ' + effectText(each.contribution));

function bar(effect, largest) {
  const filled = make('span', { className: effect < 0 ? 'negative' : 'positive' });
  filled.style.width = 50 * Math.abs(effect) / largest + '%';
  return make('span', { className: 'track', 'aria-hidden': 'true' }, filled);
}

const isNegligible = effect => +Math.exp(effect).toPrecision(2) === 1;

function effectText(effect) {
  if (isNegligible(effect)) return 'almost no effect';
  const factor = Math.exp(effect);
  return (effect > 0 ? 'raises' : 'lowers') + ' the score, odds × ' + (factor >= 100 ? Math.round(factor).toLocaleString('en') : String(+factor.toPrecision(2)));
}
