'use strict';
const $ = id => document.getElementById(id);
const page = document.querySelector('main').dataset;

// An element with properties, and children that are elements or text: never HTML, whatever is in them.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in element && name !== 'list') element[name] = value; else element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function percent(probability) {
  const value = 100 * probability;
  if (value > 0 && value < 0.01) return 'below 0.01%';
  if (value < 100 && value >= 99.95) return 'above 99.9%';
  return (value >= 9.95 ? value.toFixed(1) : value >= 0.995 ? value.toFixed(2) : String(+value.toPrecision(2))) + '%';
}

const count = (number, one, many = one + 's') => number.toLocaleString('en') + ' ' + (number === 1 ? one : many);

class Refusal extends Error {
  constructor(answer, status) {
    super(status === 401 ? 'The key is not valid, or is missing. Give it under “API key” above.' : answer.message || 'The service answered with status ' + status + '.');
    this.problems = answer.problems || [];
    this.status = status;
  }
}

// The request id tells tries on this page from other rows of the prediction log.
async function ask(path, type, body, signal) {
  const headers = { 'content-type': type, accept: 'application/json', 'x-request-id': 'page-' + Math.random().toString(36).slice(2, 14) };
  if ($('key')?.value) headers.authorization = 'Bearer ' + $('key').value;
  let response;
  try {
    response = await fetch(path, { method: 'POST', headers, body, signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refusal({ message: 'The service cannot be reached. Check your connection, then try again.' }, 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(answer, response.status);
  if (answer.model.version !== page.version) {
    $('news').hidden = false;
    $('news').textContent = 'Version ' + answer.model.version + ' answers now; this page was made for ' + page.version + '. Load it again to see the new card.';
  }
  return answer;
}

// What to do about a problem, in words for somebody who did not write the model.
function advice(problem) {
  if (problem.got === 'null' || problem.got === '""') return 'Fill it in: it may not be empty.';
  if (problem.row === null && !problem.got) return problem.message;
  const hint = /^"-?\d+,\d+"$/.test(problem.got) ? ' Write decimals with a point: ' + problem.got.slice(1, -1).replace(',', '.') + '.' : '';
  return 'Change ' + problem.got + ' to ' + plainly(problem.expected) + '.' + hint;
}

const plainly = expected => expected.replace(' below 3.4e38 in size', '').replace(' or null', ', or leave it empty');
