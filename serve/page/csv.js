// Parses CSV as spreadsheets write it: quoted cells, line breaks within them, and commas, semicolons or tabs as separators.
function parseCsv(text) {
  const separator = findSeparator(text);
  const lines = [];
  let cells = [], cell = '', quoted = false, line = 1, start = 1;
  const endLine = () => {
    cells.push(cell);
    if (cells.length > 1 || cell.trim()) lines.push({ line: start, cells }); // skips empty lines
    cells = [];
    cell = '';
  };
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '\n') line++;
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[i + 1] === '"') { cell += '"'; i++; }
      else quoted = false;
    } else if (character === '"' && !cell) quoted = true;
    else if (character === separator) { cells.push(cell); cell = ''; }
    else if (character === '\n') { endLine(); start = line; }
    else if (character !== '\r') cell += character;
  }
  if (quoted) throw new Error('The quotation mark (") that opens in line ' + start + ' is never closed.');
  if (cell || cells.length) endLine();
  return lines;
}

function findSeparator(text) {
  const header = text.slice(0, text.indexOf('\n') + 1 || text.length).replace(/"[^"]*"/g, '');
  const occurrences = separator => header.split(separator).length;
  return [',', ';', '\t'].reduce((best, separator) => occurrences(separator) > occurrences(best) ? separator : best);
}

// Reads the table in a file: its column names, and its rows with their line numbers.
async function readTable(file) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error('The file is not UTF-8 text. When you save it from a spreadsheet, choose “CSV UTF-8”.');
  }
  const [header, ...rows] = parseCsv(text);
  if (!rows.length) throw new Error('The file has no rows. It needs a line of column names, then one line for each record.');
  const names = header.cells.map(name => name.trim());
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw new Error(repeated ? 'The column ' + repeated + ' appears more than once: rename or delete one.' : 'More than one column has no name: name or delete them.');
  return { names, rows };
}

const quote = value => { const text = String(value ?? ''); return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text; };
const toCsv = lines => lines.map(cells => cells.map(quote).join(',') + '\r\n').join('');

function download(name, lines) {
  const url = URL.createObjectURL(new Blob(['\ufeff', toCsv(lines)], { type: 'text/csv' })); // with the byte order mark Excel detects UTF-8
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
