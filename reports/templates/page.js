// The page's own behaviour: sorting, filters, reasons, comparison, exports. All data are in #facts.
const facts = JSON.parse(document.getElementById("facts").textContent);
const byId = (id) => document.getElementById(id);
const number = (x, digits = 2) => x === null || x === undefined ? "–" : x.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");
const element = (name, text, properties = {}) => Object.assign(document.createElement(name), { textContent: text }, properties);

// ---- sorting: a table by the column whose header button is pressed; numbers by value, empty cells last
const sortBy = (header, order) => {
  const table = header.closest("table"), body = table.tBodies[0];
  const column = [...header.parentNode.children].indexOf(header);
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
};
document.querySelectorAll("table.sortable thead button").forEach((button) => {
  button.addEventListener("click", () => {
    const header = button.closest("th"), first = header.dataset.first || "descending";
    const other = first === "descending" ? "ascending" : "descending";
    sortBy(header, header.getAttribute("aria-sort") === first ? other : first);
  });
});

// ---- leaderboard
const heat = (scaled) => {
  if (scaled === null || scaled === undefined) return "";
  const share = Math.min(Math.max(scaled, 0), 1), strength = Math.abs(share - 0.5) * 2;
  return `hsl(${share < 0.5 ? 24 : 212} 75% 50% / ${(0.08 + 0.42 * strength).toFixed(2)})`;
};
const shown = (one, view, dataset) => {  // text, small text, what to sort by, what the colour says
  if (!one) return ["", "", null, null];
  const d = dataset ? one.datasets[dataset] : null;
  if (dataset && !d) return ["", "", null, null];
  const range = (lo, hi, n) => lo === null ? "" : `[${number(lo, n)}, ${number(hi, n)}]`;
  if (view === "raw") return d ? [number(d.raw, 3), range(d.raw_lo, d.raw_hi, 3), d.raw, d.scaled] : ["–", "", null, null];
  if (view === "rank") {
    const rank = d ? d.rank : one.all.rank, lo = d ? null : one.all.rank_lo;
    return [number(rank, 0), lo === null ? "" : `(${number(lo, 0)} to ${number(one.all.rank_hi, 0)})`, rank, d ? d.scaled : one.all.mean];
  }
  return d ? [number(d.scaled), range(d.lo, d.hi), d.scaled, d.scaled] : [number(one.all.mean), range(one.all.lo, one.all.hi), one.all.mean, one.all.mean];
};
for (const [task, methods] of Object.entries(facts.board))  // ranks on one dataset, leagues apart
  for (const dataset of facts.tasks[task].datasets)
    for (const labels of [false, true]) {
      const league = Object.keys(methods).filter((m) => !facts.methods[m].control && facts.methods[m].labels === labels && methods[m].datasets[dataset]);
      const values = league.map((m) => methods[m].datasets[dataset].scaled).filter((v) => v !== null);
      for (const m of league) {
        const own = methods[m].datasets[dataset];
        own.rank = own.scaled === null ? null : 1 + values.filter((v) => v > own.scaled).length;
      }
    }
const leaderboard = byId("leaderboard");
const captions = {
  scaled: ["The primary metric of each task, scaled between the worst (0) and the best (1) control", "mean over datasets and replicates with its 95 % interval; a missing score counts 0", "mean over its replicates with Student's 95 % interval; missing scores are left out"],
  rank: ["Ranks by the scaled primary metric of each task", "between which ranks 95 % of the bootstrap draws lie in brackets; a missing score counts 0", "by the mean over its replicates"],
  raw: ["The primary metric of each task as it is", "of one dataset only: choose it", "mean over its replicates with Student's 95 % interval; missing scores are left out"],
};
const filters = ["task", "dataset", "role", "labels", "view", "name"];
const update = () => {
  const want = Object.fromEntries(filters.map((name) => [name, byId(`show-${name}`).value]));
  let rows = 0;
  leaderboard.querySelectorAll("[data-task]").forEach((cell) => {  // a dataset takes part in some tasks only
    const task = cell.dataset.task;
    cell.hidden = (want.task && task !== want.task) || (want.dataset && !facts.tasks[task].datasets.includes(want.dataset));
  });
  for (const row of leaderboard.tBodies[0].rows) {
    const asked = [...row.querySelectorAll("td[data-task]")].filter((cell) => {
      const one = cell.hidden ? undefined : facts.board[cell.dataset.task][row.dataset.method];
      return one && (!want.dataset || one.datasets[want.dataset]);
    });
    row.hidden = Boolean(want.role && row.dataset.role !== want.role) || Boolean(want.labels && row.dataset.labels !== want.labels)
      || !row.cells[0].textContent.toLowerCase().includes(want.name.toLowerCase()) || asked.length === 0;
    rows += !row.hidden;
    for (const cell of row.querySelectorAll("td[data-task]")) {
      const [text, small, sort, colour] = shown(facts.board[cell.dataset.task][row.dataset.method], want.view, want.dataset);
      cell.replaceChildren(text, ...(small ? [" ", element("small", small)] : []));
      cell.dataset.sort = sort ?? "";
      cell.style.background = heat(colour);
    }
  }
  leaderboard.querySelectorAll("th[data-task]").forEach((th) => {
    const down = want.view === "rank" || (want.view === "raw" && facts.tasks[th.dataset.task].direction === "min");
    th.dataset.first = down ? "ascending" : "descending";
  });
  const sorted = leaderboard.querySelector("th[aria-sort]");
  if (sorted) sortBy(sorted, sorted.dataset.task ? sorted.dataset.first : sorted.getAttribute("aria-sort"));
  const [what, overall, single] = captions[want.view];
  byId("leaderboard-caption").textContent = `${what}, ${want.dataset ? `on ${facts.datasets[want.dataset]}: ${single}` : overall}. Blue is near the best control, orange near the worst. Controls are in italics. Methods that use labels have ranks of their own.`;
  byId("leaderboard-says").textContent = leaderboard.querySelector("thead [data-task]:not([hidden])")
    ? `${rows} of ${leaderboard.tBodies[0].rows.length} rows${want.dataset ? `, ${facts.datasets[want.dataset]}` : ""}`
    : "This dataset takes no part in this task.";
};
filters.forEach((name) => byId(`show-${name}`).addEventListener("input", update));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
update();

// ---- why a run has no output
const dialog = byId("why");
document.querySelectorAll("[data-why]").forEach((button) => button.addEventListener("click", () => {
  byId("why-title").textContent = button.getAttribute("aria-label");
  byId("why-body").replaceChildren(...facts.why[button.dataset.why].flatMap((run) => [
    element("p", `Replicate ${run.replicate}: ${run.status}: ${run.reason || "no reason given"}`),
    run.stderr_tail ? element("pre", run.stderr_tail, { tabIndex: 0 }) : element("p", "It printed nothing.", { className: "soft" }),
  ]));
  dialog.showModal();
}));

// ---- two methods side by side
const SVG = "http://www.w3.org/2000/svg";
const strip = (values, widest) => {  // differences of replicates as dots around zero
  const svg = document.createElementNS(SVG, "svg"), x = (v) => 100 + 90 * v / (widest || 1);
  svg.setAttribute("viewBox", "0 0 200 20");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", values.map((v) => number(v)).join(", ") || "none");
  const add = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    svg.append(made);
  };
  add("line", { x1: 100, x2: 100, y1: 1, y2: 19 });
  values.forEach((v) => add("circle", { cx: x(v), cy: 10, r: 4 }));
  return svg;
};
const compare = () => {
  const task = byId("compare-task").value;
  let a = byId("compare-a").value, b = byId("compare-b").value;
  const found = facts.pairs[task].find(([m, other]) => (m === a && other === b) || (m === b && other === a));
  if (found) [a, b] = found;  // in the order of the sentence
  const name = (m) => facts.methods[m].label, scores = facts.replicates[task];
  const body = byId("compare-table").tBodies[0];
  body.replaceChildren();
  byId("compare-name-a").textContent = a ? name(a) : "";
  byId("compare-name-b").textContent = b ? name(b) : "";
  if (!a || !b || a === b) { byId("compare-says").textContent = "Choose two methods."; return; }
  byId("compare-says").textContent = found ? found[2] : "There is no pair of scores of these two.";
  const gaps = facts.tasks[task].datasets.map((dataset) => {
    const one = scores[a]?.[dataset] ?? [], other = scores[b]?.[dataset] ?? [];
    return one.map((v, i) => v === null && (other[i] ?? null) === null ? null : (v ?? 0) - (other[i] ?? 0)).filter((v) => v !== null);
  });
  const widest = Math.max(...gaps.flat().map(Math.abs), 0);
  const mean = (values) => values.length ? values.reduce((s, v) => s + v, 0) / values.length : null;
  facts.tasks[task].datasets.forEach((dataset, i) => {
    const row = body.insertRow();
    row.append(element("th", facts.datasets[dataset], { scope: "row" }));
    const own = (m) => mean((scores[m]?.[dataset] ?? []).map((v) => v ?? 0));
    for (const value of [own(a), own(b), mean(gaps[i])]) row.append(element("td", number(value, 3)));
    const cell = row.insertCell();
    cell.append(strip(gaps[i], widest));
  });
};
const fill = () => {
  const able = Object.keys(facts.board[byId("compare-task").value]);
  const free = able.filter((m) => !facts.methods[m].control);
  ["a", "b"].forEach((side, i) => {
    byId(`compare-${side}`).replaceChildren(...free.map((m) => element("option", facts.methods[m].label, { value: m })));
    byId(`compare-${side}`).value = free[Math.min(i, free.length - 1)] ?? "";
  });
  compare();
};
byId("compare-task").addEventListener("input", fill);
["a", "b"].forEach((side) => byId(`compare-${side}`).addEventListener("input", compare));
fill();

// ---- tables to take away
const unpacked = async (packed) => {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
const leaderboardCsv = () => {
  const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  return [...leaderboard.rows].filter((row) => !row.hidden)
    .map((row) => [...row.cells].filter((cell) => !cell.hidden).map((cell) => quoted(cell.textContent.trim())).join(",")).join("\n") + "\n";
};
document.querySelectorAll("[data-export]").forEach((button) => button.addEventListener("click", async () => {
  const name = button.dataset.export;
  const text = name === "leaderboard" ? leaderboardCsv() : await unpacked(facts.packed[name]);
  if (button.dataset.how === "copy") {
    const done = await navigator.clipboard.writeText(text).then(() => "Copied", () => "The browser refused");
    button.textContent = done;
    button.setAttribute("aria-label", `${done}: ${name}`);
    return;
  }
  const link = element("a", "", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: `${name}.csv` });
  link.click();
  URL.revokeObjectURL(link.href);
}));

// ---- print everything that is folded
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
