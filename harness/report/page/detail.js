// One sample in full: its problem, its verdict, its trajectory; in a report of two runs, both answers side by side.

class Detail {
  constructor(data, chunks, { onMove, onBack }) {
    this.data = data;
    this.chunks = chunks;
    this.players = [];
    this.onMove = onMove;
    this.onBack = onBack;
    this.node = el("div", { class: "detail", id: "detail", role: "region", "aria-label": "Sample" });
  }

  async show(row) {
    this.row = row;
    this.stop();
    let chunk;
    try {
      chunk = await this.chunks.get(Math.floor(row / ROWS));
    } catch (error) {
      this.node.replaceChildren(el("p", { class: "note", role: "alert" }, error.message));
      return;
    }
    if (this.row !== row) return; // another sample was asked for meanwhile
    const entries = chunk.rows[row % ROWS];
    const problem = this.data.index.problem[row];
    this.players = [];
    this.node.replaceChildren(this.head(row, problem), this.prompt(chunk.prompts[problem] ?? []), this.sides(row, entries));
  }

  stop() {
    for (const player of this.players) player.pause();
  }

  head(row, problem) {
    const [task, id] = this.data.problems[problem];
    const named = id.startsWith(task) ? id : `${task} ${id}`;
    return el(
      "div",
      { class: "detail-head" },
      el("button", { type: "button", class: "back", click: this.onBack }, "← All samples"),
      el("h3", { tabindex: -1 }, named, el("span", { class: "soft" }, ` · sample ${this.data.index.sample[row] + 1}`)),
      this.groups(problem),
      el(
        "span",
        { class: "step-through" },
        el("button", { type: "button", title: "Previous sample (k)", click: () => this.onMove(-1) }, "↑ Previous"),
        el("button", { type: "button", title: "Next sample (j)", click: () => this.onMove(1) }, "↓ Next"),
      ),
    );
  }

  groups(problem) {
    const known = this.data.fields.filter((field) => field.of[problem] >= 0);
    return known.length > 0 && el("span", { class: "soft small" }, known.map((field) => `${field.name} ${field.values[field.of[problem]]}`).join(" · "));
  }

  prompt(messages) {
    if (!messages.length) return "";
    const long = messages.reduce((sum, [, text]) => sum + text.length, 0) > 1200;
    const alone = messages.length === 1 && messages[0][0] === "user";
    return el(
      "details",
      { class: "card prompt", open: !long },
      el("summary", {}, "Prompt"),
      messages.map(([role, text]) => [!alone && el("p", { class: "role" }, role), el("pre", {}, text)]),
    );
  }

  sides(row, entries) {
    const pair = entries.length === 2;
    const nodes = entries.map((entry, place) => this.side(row, entry, place, pair));
    const both = pair && this.players.length === 2 && el("button", { type: "button", class: "both", click: () => this.playBoth() }, icon("play"), "Play both");
    return el("div", {}, both && el("p", { class: "both-line" }, both), el("div", { class: pair ? "sides two" : "sides" }, nodes));
  }

  side(row, entry, place, pair) {
    const mark = runMark(place, pair);
    if (!entry) return el("div", { class: `card side ${SIDES[place]}` }, el("p", {}, mark, " has no such sample."));
    const { status, reward } = this.data.index;
    const value = reward[place][row];
    const head = el(
      "div",
      { class: "side-head" },
      mark,
      statusBadge(status[place][row]),
      el("span", { class: "soft" }, value === null ? "no reward" : `reward ${significant(value)}`),
      entry.f && entry.f !== "stop" && el("span", { class: "soft" }, entry.f === "length" ? "cut at the length limit" : "not decoded"),
    );
    const player = (entry.s ?? []).length > 0 && new Player(entry, pair ? "AB"[place] : "");
    if (player) this.players.push(player);
    const text = entry.t ?? "";
    return el(
      "div",
      { class: `card side ${SIDES[place]}` },
      head,
      verdictList(entry),
      player ? player.node : el("pre", {}, text),
      player && !entry.p && el("details", {}, el("summary", {}, "Response as text"), el("pre", {}, text)),
      el("p", { class: "soft small" }, factsLine(entry)),
    );
  }

  playBoth() {
    const playing = this.players.some((player) => player.playing);
    for (const player of this.players) {
      player.pause();
      if (!playing) {
        player.seek(0);
        player.play();
      }
    }
  }
}

const ROWS = 100; // samples in a portion, as in chunks.py

function verdictList(entry) {
  const answers = entry.x !== undefined && entry.w !== undefined ? marked(entry.x, entry.w) : null;
  const outcome = entry.df ? marked(entry.df[1], entry.df[0]) : null;
  const [left, right] = answers && entry.x !== entry.w ? answers : [[entry.x], [entry.w]];
  const short = answers && entry.x.length + entry.w.length <= 40 && !`${entry.x}${entry.w}`.includes("\n");
  const rows = [
    short && ["extracted", [el("code", {}, left), el("span", { class: "then" }, "expected"), el("code", { class: "right" }, right)], ""],
    !short && entry.x !== undefined && ["extracted", code(left, entry.x), ""],
    !short && entry.w !== undefined && ["expected", code(right, entry.w), "right"],
    entry.d && ["reason", entry.d, ""],
    entry.ft?.number && ["failed test", `number ${entry.ft.number}`, ""],
    entry.ft?.test && ["statement", code([entry.ft.test], entry.ft.test), ""],
    entry.ft?.input !== undefined && ["input", el("pre", {}, entry.ft.input), ""],
    entry.ft?.expected !== undefined && ["expected output", el("pre", {}, entry.ft.expected), "right"],
    outcome && ["difference", [el("div", { class: "right" }, "expected ", el("code", {}, outcome[1])), el("div", {}, "got ", el("code", {}, outcome[0]))], ""],
    entry.pt && ["parts", Object.entries(entry.pt).map(([name, value]) => `${name} ${significant(value)}`).join(" · "), ""],
  ].filter(Boolean);
  return rows.length > 0 && el("dl", { class: "verdict" }, rows.map(([name, value, side]) => [el("dt", {}, name), el("dd", { class: side }, value)]));
}

const code = (nodes, text) => (text.includes("\n") || text.length > 120 ? el("pre", {}, nodes) : el("code", {}, nodes));

// Both texts with what differs between their common beginning and end marked.
function marked(one, other) {
  let start = 0;
  while (start < Math.min(one.length, other.length) && one[start] === other[start]) start += 1;
  let end = 0;
  while (end < Math.min(one.length, other.length) - start && one.at(-1 - end) === other.at(-1 - end)) end += 1;
  // Two long texts that have nothing in common need no marks.
  if (start + end === 0 && Math.max(one.length, other.length) > 40) return [[one], [other]];
  return [one, other].map((text) => {
    const middle = text.slice(start, text.length - end);
    return [text.slice(0, start), middle && el("mark", {}, middle), text.slice(text.length - end)];
  });
}

function factsLine(entry) {
  const [prefill, denoise, cache] = entry.fp;
  const total = prefill + denoise + cache;
  return [
    `${plural(entry.n, "token")} in ${plural(total, "forward pass").replace("passs", "passes")} (${denoise} denoising, ${cache} cache, ${prefill} prefill)`,
    total && `${(entry.n / total).toFixed(2)} tokens per forward`,
    `decoded in ${seconds(entry.sec[0])}, judged in ${seconds(entry.sec[1])}`,
    entry.id,
  ].filter(Boolean).join(" · ");
}

const seconds = (value) => (value < 0.01 ? "under 0.01 s" : `${significant(value)} s`);
