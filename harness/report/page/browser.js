// The list of samples with its filters, and the sample that is open.

const PAGE = 100;

class Browser {
  constructor(data) {
    this.data = data;
    this.pair = data.runs.length === 2;
    this.chunks = new Chunks(data.chunks);
    this.detail = new Detail(data, this.chunks, { onMove: (by) => this.move(by), onBack: () => this.back() });
    this.filter = { statuses: new Set(), groups: new Map(), flip: "", text: "", sort: "run" };
    this.flips = flipsOf(data);
    this.shown = data.index.sample.map((_, row) => row);
    this.page = 0;
    this.current = -1;
    this.search = 0;
    this.node = section("samples", "Samples", this.filterBar(), this.body());
    this.ready = this.refresh();
  }

  filterBar() {
    const { data } = this;
    const letters = Object.keys(STATUS).filter((letter) => data.index.status.some((column) => column.includes(letter)));
    const chips = letters.map((letter) => this.chip(letter));
    const groups = data.fields.map((field, number) => this.select(`${field.name}: all`, field.values.map((value, place) => [String(place), `${field.name} ${value}`]), (value) => this.set(() => (value === "" ? this.filter.groups.delete(number) : this.filter.groups.set(number, Number(value))))));
    const tasks = [...new Set(data.problems.map(([task]) => task))];
    const flipChoices = this.pair ? [["any", "flipped"], ["gained", "solved in B only"], ["lost", "solved in A only"]] : [["mixed", "samples disagree"]];
    this.searchInput = el("input", { type: "search", placeholder: "Search problem and response", "aria-label": "Search problem and response", input: () => this.set(() => (this.filter.text = this.searchInput.value.toLowerCase()), 200) });
    return el(
      "div",
      { class: "filters", role: "group", "aria-label": "Filters" },
      el("div", { class: "chips", role: "group", "aria-label": "Status" }, chips),
      tasks.length > 1 && this.select("task: all", tasks.map((task) => [task, task]), (value) => this.set(() => (this.filter.task = value))),
      groups,
      this.flips.size > 0 && this.select(this.pair ? "flipped or not" : "agreeing or not", flipChoices, (value) => this.set(() => (this.filter.flip = value))),
      this.searchInput,
    );
  }

  chip(letter) {
    const n = this.data.index.sample.filter((_, row) => this.data.index.status.some((column) => column[row] === letter)).length;
    const node = el("button", { type: "button", class: "chip", "aria-pressed": "false", "data-status": STATUS[letter].name }, statusBadge(letter), el("span", { class: "soft" }, ` ${count(n)}`));
    node.addEventListener("click", () => {
      const { statuses } = this.filter;
      this.set(() => (statuses.has(letter) ? statuses.delete(letter) : statuses.add(letter)));
      node.setAttribute("aria-pressed", String(statuses.has(letter)));
    });
    return node;
  }

  select(all, options, act) {
    const node = el("select", { "aria-label": all }, el("option", { value: "" }, all), options.map(([value, label]) => el("option", { value }, label)));
    node.addEventListener("change", () => act(node.value));
    return node;
  }

  body() {
    this.countNode = el("span", { class: "count", role: "status" });
    this.rowsNode = el("div", { class: "rows", id: "rows" });
    this.older = el("button", { type: "button", "aria-label": "Previous page of samples", click: () => this.turn(-1) }, "‹");
    this.newer = el("button", { type: "button", "aria-label": "Next page of samples", click: () => this.turn(1) }, "›");
    const orders = [["run", "in order"], ["length", "longest"], ["short", "shortest"], ["fast", "most tokens/forward"], ["slow", "fewest tokens/forward"]];
    const sort = el("select", { "aria-label": "Order" }, orders.map(([value, label]) => el("option", { value }, label)));
    sort.addEventListener("change", () => this.set(() => (this.filter.sort = sort.value)));
    const list = el("div", { class: "list card" }, el("div", { class: "list-head" }, this.countNode, this.older, this.newer), el("div", { class: "list-head" }, sort), this.rowsNode);
    this.bodyNode = el("div", { class: "browser" }, list, this.detail.node);
    return this.bodyNode;
  }

  // Change the filter, and show what passes it; typing waits a moment.
  set(change, pause = 0) {
    change();
    clearTimeout(this.pending);
    if (pause) this.pending = setTimeout(() => this.refresh(), pause);
    else this.refresh();
  }

  async refresh() {
    const search = (this.search += 1);
    const rows = this.data.index.sample.map((_, row) => row).filter((row) => this.passes(row));
    const found = this.filter.text ? await this.searched(rows, search) : rows;
    if (search !== this.search) return; // the filter changed meanwhile
    this.shown = this.sorted(found);
    this.page = 0;
    this.drawList();
    if (!this.shown.includes(this.current)) await this.open(this.shown[0] ?? -1, { quietly: true });
  }

  passes(row) {
    const { index, fields, problems } = this.data;
    const problem = index.problem[row];
    const { statuses, groups, flip, task } = this.filter;
    if (statuses.size && !index.status.some((column) => statuses.has(column[row]))) return false;
    if (task && problems[problem][0] !== task) return false;
    for (const [number, value] of groups) if (fields[number].of[problem] !== value) return false;
    const how = this.flips.get(problem);
    return !flip || (flip === "any" ? how !== undefined : how === flip);
  }

  async searched(rows, search) {
    const found = [];
    let known = -1;
    let chunk = null;
    for (const row of rows) {
      const number = Math.floor(row / ROWS);
      if (number !== known) {
        if (search !== this.search) return [];
        if (this.data.chunks.folder) this.countNode.textContent = `Searching, ${Math.round((100 * number) / this.data.chunks.count)}%`;
        [chunk, known] = [await this.chunks.get(number), number];
      }
      if (this.matches(chunk, row)) found.push(row);
    }
    return found;
  }

  matches(chunk, row) {
    const problem = this.data.index.problem[row];
    const texts = [this.data.problems[problem][1], ...(chunk.prompts[problem] ?? []).map(([, text]) => text)];
    for (const entry of chunk.rows[row % ROWS]) if (entry) texts.push(entry.t ?? entry.p.slice(0, entry.n).join(""), entry.x ?? "", entry.d ?? "");
    return texts.some((text) => text.toLowerCase().includes(this.filter.text));
  }

  sorted(rows) {
    const { length, speed } = this.data.index;
    const last = length.length - 1;
    const keys = { length: (row) => -length[last][row], short: (row) => length[last][row], fast: (row) => -speed[last][row], slow: (row) => speed[last][row] };
    const key = keys[this.filter.sort];
    return key ? [...rows].sort((a, b) => key(a) - key(b) || a - b) : rows;
  }

  drawList() {
    const [from, to] = [this.page * PAGE, Math.min((this.page + 1) * PAGE, this.shown.length)];
    const total = this.data.index.sample.length;
    const part = this.shown.length > PAGE ? `${count(from + 1)}–${count(to)} of ` : "";
    this.countNode.textContent = `${part}${count(this.shown.length)}${this.shown.length < total ? ` (of ${count(total)})` : ""} ${total === 1 ? "sample" : "samples"}`;
    [this.older.hidden, this.newer.hidden] = [this.shown.length <= PAGE, this.shown.length <= PAGE];
    [this.older.disabled, this.newer.disabled] = [this.page === 0, to >= this.shown.length];
    const rows = this.shown.slice(from, to).map((row) => this.rowButton(row));
    this.rowsNode.replaceChildren(...(rows.length ? rows : [el("p", { class: "empty" }, "No sample passes the filters.")]));
    this.rowsNode.scrollTop = 0;
  }

  rowButton(row) {
    const { index, problems } = this.data;
    const problem = index.problem[row];
    const last = index.length.length - 1;
    const many = index.sample[row] > 0 || index.sample[row + 1] > 0;
    return el(
      "button",
      { type: "button", class: "row", "data-row": row, "aria-current": String(row === this.current), click: () => this.open(row) },
      el("span", { class: "glyphs" }, index.status.map((column) => statusGlyph(column[row]))),
      el("span", { class: "id" }, el("bdi", {}, problems[problem][1], many && el("span", { class: "soft" }, ` · ${index.sample[row] + 1}`))),
      el("span", { class: "soft small" }, count(index.length[last][row])),
    );
  }

  turn(by) {
    this.page += by;
    this.drawList();
  }

  open(row, { quietly = false } = {}) {
    this.current = row;
    for (const node of this.rowsNode.children) node.setAttribute("aria-current", String(Number(node.dataset.row) === row));
    if (row < 0) {
      this.detail.stop();
      this.detail.node.replaceChildren();
      return Promise.resolve();
    }
    if (!quietly) {
      this.bodyNode.classList.add("open");
      history.replaceState(null, "", `#sample-${row + 1}`);
    }
    return this.detail.show(row);
  }

  // The next or previous sample of those that pass the filter.
  move(by) {
    const at = this.shown.indexOf(this.current) + by;
    if (at < 0 || at >= this.shown.length) return;
    if (Math.floor(at / PAGE) !== this.page) {
      this.page = Math.floor(at / PAGE);
      this.drawList();
    }
    this.open(this.shown[at]);
    $(`[data-row="${this.shown[at]}"]`, this.rowsNode)?.scrollIntoView({ block: "nearest" });
  }

  back() {
    this.bodyNode.classList.remove("open");
    $('[aria-current="true"]', this.rowsNode)?.focus();
  }
}

// Problem number -> "gained" or "lost" between two runs; in one run, "mixed" where samples of a problem disagree.
function flipsOf(data) {
  const flips = new Map();
  const numbers = new Map(data.problems.map(([task, id], number) => [`${task}\n${id}`, number]));
  for (const task of data.comparison?.tasks ?? []) {
    for (const how of ["gained", "lost"]) for (const { problem_id: id } of task[how]) flips.set(numbers.get(`${task.task}\n${id}`), how);
  }
  if (data.runs.length === 1) {
    const seen = new Map();
    data.index.problem.forEach((problem, row) => {
      const letter = data.index.status[0][row];
      if (seen.has(problem) && (seen.get(problem) === "c") !== (letter === "c")) flips.set(problem, "mixed");
      seen.set(problem, letter);
    });
  }
  return flips;
}
