// Parses CSV as spreadsheets write it: quoted cells, line breaks within them, and commas, semicolons or tabs as separators.
function parseCsv(text, separator) {
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

// Decodes the file's text; a guess at the encoding is noted, because it may be wrong for some letters.
function decode(bytes, notes) {
  const [first, second] = bytes;
  if (first === 0x50 && second === 0x4b) throw new Error('This is an Excel workbook or another zip file. Save the sheet as “CSV UTF-8”, then choose that file.');
  const utf16 = first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : null;
  if (utf16) return new TextDecoder(utf16).decode(bytes);
  if (bytes.includes(0)) throw new Error('This is not a text file. Save the list as “CSV UTF-8”, then choose that file.');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    notes.push('The file is not UTF-8, so it was read as Western European text (Windows-1252). If letters look wrong, save it as “CSV UTF-8”.');
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

// Reads the table in a file: its column names; its rows with their line numbers, their cells as they are in the file, and
// their values as the service reads them; and notes on what was guessed.
async function readTable(file) {
  const notes = [];
  const text = decode(new Uint8Array(await file.arrayBuffer()), notes);
  const separator = findSeparator(text);
  const [header, ...rows] = parseCsv(text, separator);
  if (!rows.length) throw new Error('The file has no rows. It needs a line of column names, then one line for each record.');
  const names = header.cells.map(name => name.trim());
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw new Error(repeated ? 'The column ' + repeated + ' appears more than once: rename or delete one.' : 'More than one column has no name: name or delete them.');
  return readNumbers({ names, rows, separator, notes });
}

const toCsv = (lines, separator = ',') => {
  const special = new RegExp('["\\r\\n' + separator + ']');
  const quote = value => { const text = String(value ?? ''); return special.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text; };
  return lines.map(cells => cells.map(quote).join(separator) + '\r\n').join('');
};
