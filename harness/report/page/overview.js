// The sections above the samples: scores, groups, statuses and distributions, training curves, settings.

const runMark = (place, pair) => pair && el("span", { class: `run-mark ${SIDES[place]}` }, "AB"[place]);

function lead(data) {
  const pair = data.runs.length === 2;
  const who = data.runs.map((run, place) => {
    const task = run.tasks[0];
    const model = task?.model ? ` ${task.model.id}` : "";
    const conditions = [...new Set(run.tasks.filter((one) => one.decode).map(conditionsLine))].slice(0, 1);
    return [
      el("p", { class: "who" }, runMark(place, pair), el("strong", {}, run.name), model && el("span", {}, model), task?.model && el("span", { class: "mono" }, task.model.fingerprint)),
      conditions.map((line) => el("p", { class: "small" }, line)),
    ];
  });
  return el(
    "div",
    { class: "lead" },
    el("h2", {}, headline(data)),
    who,
    data.notes.map((note) => el("p", { class: "note" }, note)),
  );
}

function conditionsLine({ decode, seed, model }) {
  if (model.family === "remote") return `decoded by the endpoint · temperature ${decode.temperature} · seed ${seed}`;
  const named = decode.algorithm === "block" ? decode.remasking : decode.algorithm;
  const rule = named === "dynamic" ? `dynamic ${decode.threshold}` : named;
  const steps = decode.steps_per_block && plural(decode.steps_per_block, "step");
  const limit = decode.max_new_tokens && `at most ${count(decode.max_new_tokens)} tokens`;
  return [rule, `block ${decode.block_size}`, steps, `temperature ${decode.temperature}`, limit, `seed ${seed}`].filter(Boolean).join(" · ");
}

function headline(data) {
  const tasks = [...new Set(data.runs.flatMap((run) => run.tasks.map((task) => task.task)))];
  const samples = data.index.sample.length;
  if (!samples) return "Training run";
  const what = `${tasks.slice(0, 3).join(", ")}${tasks.length > 3 ? ` and ${tasks.length - 3} more` : ""}`;
  const paired = data.runs.length === 2 ? (samples === 1 ? "1 pair of samples" : `${count(samples)} pairs of samples`) : plural(samples, "sample");
  return `${what}: ${plural(data.problems.length, "problem")}, ${paired}`;
}

const COLUMNS = ["Task", "Run", "Problems × samples", "Score ± SE", "95% interval", "", "avg, pass, maj @k", "Tokens / forward", "Tokens / s"];

// A cell that says what it is where the table has no room for a head.
const labelled = (label, ...children) => el("td", { "data-label": label }, children);

function scores(data) {
  const pair = data.runs.length === 2;
  const rows = data.runs.flatMap((run, place) => run.tasks.map((task) => ({ task, place })));
  if (!rows.length) return null;
  const names = [...new Set(rows.map(({ task }) => task.task))];
  const body = names.map((name) => scoreRows(data, name, rows.filter(({ task }) => task.task === name), pair));
  return section(
    "scores",
    "Scores",
    el(
      "div",
      { class: "card scroll" },
      el(
        "table",
        { class: "scores" },
        el("thead", {}, el("tr", {}, COLUMNS.filter((title) => pair || title !== "Run").map((title) => el("th", { scope: "col" }, title)))),
        body.map((trs) => el("tbody", {}, trs)),
      ),
    ),
    settingsOf(data),
  );
}

function scoreRows(data, name, rows, pair) {
  const compared = data.comparison?.tasks.find((task) => task.task === name);
  const scale = scoreScale(rows.map(({ task }) => task.score));
  const range = scale.unit ? [0, 1] : spanOf(rows.map(({ task }) => task.score));
  const lines = rows.map(({ task, place }) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, place && rows.length > 1 ? "" : name),
      pair && el("td", {}, runMark(place, true)),
      labelled(COLUMNS[2], `${count(task.problems)}${task.samples ? ` × ${task.samples}` : ""}`),
      labelled(COLUMNS[3], scoreCell(task.score, scale)),
      labelled(COLUMNS[4], intervalText(task.score, scale)),
      el("td", {}, task.score && el("div", { class: "plot-cell" }, intervalPlot([task.score], range, { label: `Score on ${name}`, height: 18, sides: [SIDES[place]] }))),
      labelled(COLUMNS[6], passText(task)),
      labelled(COLUMNS[7], task.tokens_per_forward?.toFixed(2) ?? "–"),
      labelled(COLUMNS[8], task.tokens_per_second ? count(Math.round(task.tokens_per_second)) : "–"),
    ),
  );
  return compared ? [...lines, differenceRow(compared, scale)] : lines;
}

function differenceRow(task, scale) {
  const { difference: found, signs } = task;
  const reach = Math.max(Math.abs(found.low ?? found.mean), Math.abs(found.high ?? found.mean), 0.02) * 1.15;
  const interval = found.low === null ? "–" : `${scale.signed(found.low)} to ${scale.signed(found.high)}`;
  return el(
    "tr",
    { class: "delta" },
    el("th", { scope: "row" }, "B − A"),
    el("td", {}),
    labelled("Problems", `${count(task.problems)} common`),
    labelled("Difference ± SE", el("span", { class: "score" }, scale.signed(found.mean)), found.se !== null && el("span", { class: "pm" }, ` ± ${scale.show(found.se)}`)),
    labelled(COLUMNS[4], interval, el("div", { class: "soft small" }, found.interval === "t" ? "t, paired" : "Wilson")),
    el("td", {}, el("div", { class: "plot-cell" }, intervalPlot([found], [-reach, reach], { zero: true, sides: ["d"], label: `Difference on ${task.task}; the line marks zero`, height: 18 }))),
    el("td", { colspan: 3, class: "signs" }, `${signs.wins} better, ${signs.losses} worse, ${signs.ties} equal `, el("span", { class: "soft" }, `sign test p = ${signs.p < 0.001 ? signs.p.toExponential(0) : Number(signs.p.toPrecision(2))}`)),
  );
}

function scoreCell(found, scale) {
  if (!found) return "–";
  return [el("span", { class: "score" }, scale.show(found.mean)), found.se !== null && el("span", { class: "pm" }, ` ± ${scale.show(found.se)}`)];
}

function intervalText(found, scale) {
  if (!found || found.low === null) return "–";
  return [`${scale.show(found.low)} to ${scale.show(found.high)}`, el("div", { class: "soft small" }, found.interval === "wilson" ? "Wilson" : "t, clustered")];
}

function passText(task) {
  const parts = [
    ...(task.score && task.samples > 1 ? [`avg@${task.samples} ${(100 * task.score.mean).toFixed(1)}`] : []),
    ...Object.entries(task.pass_at_k ?? {}).map(([k, value]) => `pass@${k} ${(100 * value).toFixed(1)}`),
    ...Object.entries(task.maj_at_k ?? {}).map(([k, value]) => `maj@${k} ${(100 * value).toFixed(1)}`),
  ];
  return parts.length > 1 ? el("div", { class: "at-k" }, parts.map((part) => el("span", {}, part))) : "–";
}

const spanOf = (estimates) => {
  const values = estimates.filter(Boolean).flatMap(({ mean, low, high }) => [mean, low ?? mean, high ?? mean]);
  return values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
};

function settingsOf(data) {
  const differs = new Set((data.comparison?.tasks ?? []).flatMap((task) => Object.keys(task.differs)));
  const pair = data.runs.length === 2;
  const blocks = data.runs.map((run, place) =>
    run.tasks.map((task) => pairsList([[pair ? `run ${"AB"[place]}` : "run", run.name], ["task", task.task], ...task.settings], differs)),
  );
  const machines = data.runs.map((run) => run.environment.length > 0 && pairsList(run.environment, new Set()));
  const remarks = [...new Set(data.runs.flatMap((run) => run.tasks.flatMap((task) => task.notes ?? [])))];
  return [
    differs.size > 0 && el("p", { class: "note" }, "The runs differ in ", el("span", { class: "differs" }, [...differs].join(", ")), "."),
    remarks.map((remark) => el("p", { class: "note" }, remark)),
    el("details", {}, el("summary", {}, "Settings and environment"), el("div", { class: "settings" }, blocks), el("div", { class: "settings" }, machines)),
  ];
}

function pairsList(pairs, differs) {
  return el("dl", { class: "pairs" }, pairs.map(([key, value]) => [el("dt", { class: differs.has(key) ? "differs" : null }, key), el("dd", {}, value === "" ? "–" : value)]));
}

function groupCards(data) {
  const pair = data.runs.length === 2;
  const many = new Set(data.groups.map(({ task }) => task)).size > 1;
  return data.groups.map(({ task, field, rows }) => {
    const scale = scoreScale(rows.flatMap((row) => row.runs));
    const range = scale.unit ? [0, 1] : spanOf(rows.flatMap((row) => row.runs));
    return el(
      "div",
      { class: "card scroll" },
      el("h3", {}, `By ${field}`, many && el("span", { class: "soft" }, ` · ${task}`)),
      el(
        "table",
        { class: "forest" },
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, field), el("th", { scope: "col", class: "num" }, "n"), el("th", { scope: "col" }, scale.unit ? "0 to 100, with 95% interval" : "with 95% interval"), data.runs.map((_, place) => el("th", { scope: "col", class: "num" }, pair ? runMark(place, true) : "score")))),
        el(
          "tbody",
          {},
          rows.map((row) =>
            el(
              "tr",
              {},
              el("th", { scope: "row", title: row.name }, row.name),
              el("td", { class: "num soft" }, count(row.n)),
              el("td", { class: "plot" }, intervalPlot(row.runs, range, { label: `${field} ${row.name}`, height: pair ? 10 : 16 })),
              row.runs.map((found) => el("td", { class: "num" }, found ? scale.show(found.mean) : "–")),
            ),
          ),
        ),
      ),
    );
  });
}

function breakdown(data) {
  if (!data.index.sample.length) return null;
  const names = data.runs.map((_, place) => (data.runs.length === 2 ? "AB"[place] : ""));
  return section(
    "breakdown",
    "Breakdown",
    el("div", { class: "cards" }, statusCard(data, names), groupCards(data), data.histograms.map((chart) => histogram(chart, names))),
    data.runs.length === 2 && el("p", { class: "legend" }, el("span", {}, runMark(0, true), " filled"), el("span", {}, runMark(1, true), " outlined; shares of each run, the triangle marks its mean")),
  );
}

function statusCard(data, names) {
  const blocks = data.runs.map((run, place) => {
    const totals = {};
    for (const task of run.tasks) for (const [name, n] of Object.entries(task.statuses)) totals[name] = (totals[name] ?? 0) + n;
    const sum = Object.values(totals).reduce((a, b) => a + b, 0);
    const order = Object.keys(LETTER).filter((name) => totals[name]);
    const stack = el("div", { class: "stack", "aria-hidden": "true" }, order.map((name) => el("i", { class: `f-${LETTER[name]}` })));
    [...stack.children].forEach((part, at) => part.style.setProperty("flex", String(totals[order[at]])));
    return el(
      "div",
      {},
      names[place] && runMark(place, true),
      stack,
      el("ul", { class: "tally" }, order.map((name) => el("li", {}, statusBadge(LETTER[name]), el("span", {}, `${count(totals[name])} · ${((100 * totals[name]) / sum).toFixed(1)}%`)))),
    );
  });
  return el("div", { class: "card" }, el("h3", {}, "Verdicts"), el("div", { class: "side-by-side" }, blocks));
}

function training(data) {
  const names = [...new Set(data.runs.flatMap((run) => run.curves.map((curve) => curve.name)))];
  if (!names.length) return null;
  const charts = names.map((name) => curveChart(name, data.runs.map((run) => run.curves.find((curve) => curve.name === name))));
  const [first, rest] = [charts.slice(0, 12), charts.slice(12)];
  const configs = data.runs.map((run) => run.config.length > 0 && pairsList(run.config, new Set()));
  return section(
    "training",
    "Training",
    el("div", { class: "curves" }, first),
    rest.length > 0 && el("details", {}, el("summary", {}, `${rest.length} more curves`), el("div", { class: "curves" }, rest)),
    configs.some(Boolean) && el("details", {}, el("summary", {}, "Settings"), el("div", { class: "settings" }, configs)),
  );
}

function section(id, title, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), children);
}
