'use strict';
const $ = id => document.getElementById(id);
const page = document.querySelector('main').dataset;

// Makes an element with properties and children. Strings become text, never HTML, whatever they contain.
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
  return (value >= 9.95 ? value.toFixed(1) : value >= 0.0995 ? value.toFixed(2) : String(+value.toPrecision(2))) + '%';
}

// Returns a change of a probability in percentage points, with its sign.
const points = change => (change < 0 ? '−' : '+') + Math.abs(100 * change).toFixed(1) + ' points';

const count = (number, singular, plural = singular + 's') => number.toLocaleString('en') + ' ' + (number === 1 ? singular : plural);

class RequestError extends Error {
  constructor(answer, status) {
    super(status === 401 ? 'The API key is missing or not valid. Enter it under “API key” in “About the model”.' : answer.message || 'The service returned the status ' + status + '.');
    this.problems = answer.problems || [];
    this.status = status;
  }
}

// The request id marks requests from this page in the prediction log.
async function post(path, type, body, signal) {
  const headers = { 'content-type': type, accept: 'application/json', 'x-request-id': 'page-' + Math.random().toString(36).slice(2, 14) };
  if ($('key')?.value) headers.authorization = 'Bearer ' + $('key').value;
  let response;
  try {
    response = await fetch(path, { method: 'POST', headers, body, signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new RequestError({ message: 'The service cannot be reached. Check your connection, then try again.' }, 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new RequestError(answer, response.status);
  if (answer.model.version !== page.version) {
    $('news').hidden = false;
    $('news').textContent = 'The service now uses version ' + answer.model.version + '; this page describes version ' + page.version + '. Reload the page to see the new model card.';
  }
  return answer;
}

const REQUIRED = 'Enter a value: it is required.';

// Explains how to fix a problem to somebody who did not build the model.
function advice(problem) {
  if (problem.got === 'null' || problem.got === '""') return REQUIRED;
  if (problem.row === null && !problem.got) return problem.message;
  const hint = /^"-?\d+,\d+"$/.test(problem.got) ? ' Write decimals with a point: ' + problem.got.slice(1, -1).replace(',', '.') + '.' : '';
  return 'Change ' + problem.got + ' to ' + simplified(problem.expected) + '.' + hint;
}

const simplified = expected => expected.replace(' below 3.4e38 in size', '').replace(/,? or null/, ', or leave it empty');
