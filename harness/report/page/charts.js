// Small charts as SVG: intervals, histograms, curves. Each says in words what it shows.

const SIDES = ["a", "b"];

// Means with their 95% intervals on a common scale, one line a run.
function intervalPlot(estimates, [low, high], { zero = false, label = "", height = 12, sides = SIDES } = {}) {
  const width = 240;
  const x = (value) => (width * (Math.min(Math.max(value, low), high) - low)) / (high - low || 1);
  const rows = estimates.map((found, place) => [found, place]).filter(([found]) => found);
  const total = height * estimates.length;
  const figures = rows.map(([found]) => `${significant(found.mean)}${found.low === null ? "" : ` (${significant(found.low)} to ${significant(found.high)})`}`);
  const ticks = zero ? [0] : [low, (low + high) / 2, high];
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${total}`, width: "100%", height: total, preserveAspectRatio: "none", role: "img", "aria-label": `${label}: ${figures.join("; ")}` },
    ticks.map((tick) => svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: 0, y2: total, "vector-effect": "non-scaling-stroke" })),
    rows.map(([found, place]) => {
      const y = height * (place + 0.5);
      const side = sides[place];
      return [
        found.low !== null && svg("line", { class: `line-${side}`, x1: x(found.low), x2: x(found.high), y1: y, y2: y, "stroke-width": 2, "vector-effect": "non-scaling-stroke" }),
        // A line of no length with round caps is a dot that does not stretch with the chart.
        svg("line", { class: `line-${side}`, x1: x(found.mean), x2: x(found.mean) + 0.01, y1: y, y2: y, "stroke-width": 9, "stroke-linecap": "round", "vector-effect": "non-scaling-stroke" }),
      ];
    }),
  );
}

function histogram({ title, low, width, counts, means }, names) {
  const [w, h, base] = [320, 96, 96];
  const bins = counts[0].length;
  const totals = counts.map((run) => run.reduce((sum, value) => sum + value, 0));
  const shares = counts.map((run, place) => run.map((value) => value / (totals[place] || 1)));
  const top = Math.max(...shares.flat(), 1e-9);
  const bar = w / bins;
  const described = means.map((mean, place) => mean !== null && `${names.length > 1 ? `${names[place]}: ` : ""}mean ${significant(mean)}`).filter(Boolean);
  const edge = (place) => significant(Number((low + place * width).toPrecision(10)));
  const picture = svg(
    "svg",
    { viewBox: `0 -4 ${w} ${h + 24}`, width: "100%", role: "img", "aria-label": `Histogram of ${title}: ${described.join("; ")}` },
    svg("line", { class: "axis", x1: 0, x2: w, y1: base, y2: base }),
    shares.map((run, place) =>
      run.map((share, bin) => {
        if (!share) return null;
        const height = Math.max((h * share) / top, 1.5);
        const inset = place ? 2.5 : 0.75;
        const range = width === 1 && Number.isInteger(low) ? edge(bin) : `${edge(bin)} to ${edge(bin + 1)}`;
        return svg(
          "rect",
          { class: `bar-${SIDES[place]}${names.length > 1 ? " shared" : ""}`, x: bin * bar + inset, width: Math.max(bar - 2 * inset, 0.8), y: base - height, height, rx: Math.min(2, bar / 4) },
          svg("title", {}, `${range}: ${plural(counts[place][bin], "response")}`),
        );
      }),
    ),
    svg("text", { x: 0, y: h + 16 }, edge(0)),
    svg("text", { x: w, y: h + 16, "text-anchor": "end" }, edge(bins)),
    means.map((mean, place) => {
      if (mean === null) return null;
      const at = (w * (mean - low)) / (width * bins);
      return svg("path", { class: `mark-${SIDES[place]}`, d: `M ${at} ${base + 2} l 4.5 7 h -9 z` }, svg("title", {}, `mean ${significant(mean)}`));
    }),
  );
  return el("figure", { class: "card" }, el("h3", {}, title[0].toUpperCase() + title.split(",")[0].slice(1), el("span", { class: "soft" }, ` · ${described.join(" · ")}`)), picture);
}

// A moving average over neighbours on both sides, which shows where a noisy curve is going and does not lag behind it.
function smooth(values) {
  const reach = Math.max(1, Math.round(values.length / 20));
  return values.map((_, place) => {
    const near = values.slice(Math.max(place - reach, 0), place + reach + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

function curveChart(name, curves) {
  const [w, h] = [280, 92];
  const xs = curves.flatMap((curve) => (curve ? curve.x : []));
  const ys = curves.flatMap((curve) => (curve ? curve.y : []));
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const x = (value) => (w * (value - left)) / (right - left || 1);
  const y = (value) => h - (h * (value - low)) / (high - low || 1);
  const path = (curve, values) => curve.x.map((at, place) => `${place ? "L" : "M"}${x(at).toFixed(1)} ${y(values[place]).toFixed(1)}`).join("");
  const drawn = curves.map((curve, place) => {
    if (!curve) return null;
    const line = { class: `line-${SIDES[place]}`, fill: "none", "stroke-linejoin": "round" };
    if (curve.x.length === 1) return svg("circle", { class: `mark-${SIDES[place]}`, cx: x(curve.x[0]), cy: y(curve.y[0]), r: 3 });
    if (curve.x.length < 16) return svg("path", { ...line, d: path(curve, curve.y), "stroke-width": 2 });
    return [
      svg("path", { ...line, d: path(curve, curve.y), "stroke-width": 1, opacity: 0.35 }),
      svg("path", { ...line, d: path(curve, smooth(curve.y)), "stroke-width": 2 }),
    ];
  });
  const last = curves.filter(Boolean).map((curve) => significant(curve.y.at(-1)));
  return el(
    "figure",
    { class: "card" },
    el("h3", {}, el("span", {}, name), el("span", { class: "soft" }, last.join(" · "))),
    svg(
      "svg",
      { viewBox: `-2 -6 ${w + 4} ${h + 26}`, width: "100%", role: "img", "aria-label": `${name} over steps ${left} to ${right}: from ${significant(low)} to ${significant(high)}, at last ${last.join(" and ")}` },
      svg("line", { class: "axis", x1: 0, x2: w, y1: h, y2: h }),
      svg("line", { class: "axis", x1: 0, x2: w, y1: 0, y2: 0 }),
      drawn,
      svg("text", { x: 0, y: 11 }, significant(high)),
      svg("text", { x: 0, y: h - 4 }, significant(low)),
      svg("text", { x: 0, y: h + 14 }, `step ${significant(left)}`),
      svg("text", { x: w, y: h + 14, "text-anchor": "end" }, significant(right)),
    ),
  );
}
