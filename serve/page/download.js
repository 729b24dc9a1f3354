// Returns a cell that a spreadsheet shows as it is: text that it would run as a formula gets an apostrophe in front,
// also after a character that splits the cell where the spreadsheet expects it between cells.
// The same rule as in mlsys/spreadsheets.py.
const FORMULA = /(^|[;,])(?=[=+\-@\t\r\n＝＋－＠])/g;
const NUMBER = /^[+-]?(\d[\d.,]*|[.,]\d+)(e[+-]?\d+)?%?$/i;
const asText = cell => typeof cell === 'string' && !NUMBER.test(cell) ? cell.replace(FORMULA, "$1'") : cell;

// Downloads a CSV file for people. With the byte order mark, Excel detects UTF-8.
function download(name, lines, separator = ',') {
  const url = URL.createObjectURL(new Blob(['\ufeff', toCsv(lines.map(cells => cells.map(asText)), separator)], { type: 'text/csv' }));
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
