// Sort a table by the column whose header button is pressed; numbers by value, empty cells last.
document.querySelectorAll("table.sortable thead button").forEach((button) => {
  button.addEventListener("click", () => {
    const header = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
    const column = [...header.parentNode.children].indexOf(header);
    const first = header.dataset.first || "descending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = header.getAttribute("aria-sort") === first ? other : first;
    table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", order);
    const key = (row) => {
      const cell = row.children[column], given = cell.dataset.sort;
      const text = given === undefined ? cell.textContent.trim() : given;
      return text === "" || text === "–" ? null : isNaN(text) ? text.toLowerCase() : Number(text);
    };
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => a === null ? (b === null ? 0 : 1) : b === null ? -1 : a < b ? -sign : a > b ? sign : 0);
    body.append(...rows.map(([, row]) => row));
  });
});
const toggle = document.getElementById("toggle");
toggle.addEventListener("click", () => {
  const scaled = document.body.classList.toggle("scaled-view");
  toggle.setAttribute("aria-pressed", scaled);
  toggle.textContent = scaled ? "Show raw values" : "Show scaled values";
});
