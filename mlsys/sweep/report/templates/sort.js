"use strict";
// Sorts the leaderboard by a column when its heading is clicked; without JavaScript the table stays sorted by rank.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], status = document.getElementById("sorted");
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending", sign = descending ? -1 : 1;
      const numeric = head.dataset.kind === "number";
      const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
      const compare = (a, b) => numeric ? a - b : a.localeCompare(b);
      const rows = Array.from(body.rows, (row) => [key(row), row]);
      rows.sort(([a], [b]) => (a === "") - (b === "") || (a === "" ? 0 : sign * compare(a, b)));
      body.append(...rows.map(([, row]) => row));
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      status.textContent = `Sorted by ${button.textContent.trim()}, ${descending ? "descending" : "ascending"}.`;
    });
  });
}
