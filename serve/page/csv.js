// Reads CSV as spreadsheets write it: quotes, line breaks inside them, and commas, semicolons or tabs between cells.
function readCsv(text) {
  const mark = delimiter(text);
  const lines = [];
  let cells = [], cell = '', quoted = false, line = 1, start = 1;
  const endLine = () => {
    cells.push(cell);
    if (cells.length > 1 || cell.trim()) lines.push({ line: start, cells }); // else an empty line
    cells = [];
    cell = '';
  };
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    if (letter === '\n') line++;
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[i + 1] === '"') { cell += '"'; i++; }
      else quoted = false;
    } else if (letter === '"' && !cell) quoted = true;
    else if (letter === mark) { cells.push(cell); cell = ''; }
    else if (letter === '\n') { endLine(); start = line; }
    else if (letter !== '\r') cell += letter;
  }
  if (quoted) throw new Error('A quotation mark (") that opens in line ' + start + ' is never closed.');
  if (cell || cells.length) endLine();
  return lines;
}

function delimiter(text) {
  const head = text.slice(0, text.indexOf('\n') + 1 || text.length).replace(/"[^"]*"/g, '');
  const often = mark => head.split(mark).length;
  return [',', ';', '\t'].reduce((best, mark) => often(mark) > often(best) ? mark : best);
}

// The table in a file: names of its columns, and rows with their line in the file.
async function readTable(file) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error('The file is not text in UTF-8. In the spreadsheet choose “CSV UTF-8” when you save it.');
  }
  const [head, ...rows] = readCsv(text);
  if (!rows.length) throw new Error('The file has no rows: it needs a line of column names, then a line for each record.');
  const names = head.cells.map(name => name.trim());
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(twice ? 'The column ' + twice + ' comes more than once: rename or delete one.' : 'More than one column has no name: name them or delete them.');
  return { names, rows };
}

const quote = value => { const text = String(value ?? ''); return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text; };
const toCsv = lines => lines.map(cells => cells.map(quote).join(',') + '\r\n').join('');

function save(name, lines) {
  const url = URL.createObjectURL(new Blob(['\ufeff', toCsv(lines)], { type: 'text/csv' })); // the mark lets Excel see UTF-8
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
