"use strict";
// Sorts the leaderboard by the column whose heading is pressed; without a script the table is sorted by rank.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], said = document.getElementById("sorted");
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
      const numeric = head.dataset.kind === "number";
      const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
      const compare = (a, b) => numeric ? a - b : a.localeCompare(b);
      const rows = Array.from(body.rows, (row) => [key(row), row]);
      rows.sort(([a], [b]) => (a === "") - (b === "") || (a === "" ? 0 : sign * compare(a, b)));
      body.append(...rows.map(([, row]) => row));
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      said.textContent = `Sorted by ${button.textContent.trim()}, ${down ? "descending" : "ascending"}.`;
    });
  });
}
