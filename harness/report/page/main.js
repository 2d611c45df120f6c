// Starts the page: unpacks the data, draws the sections, listens to the keyboard.

async function start() {
  setTheme(remembered("unmask-theme", "auto"));
  $("#theme-button").addEventListener("click", nextTheme);
  $("#help-button").addEventListener("click", () => $("#help").showModal());
  if (typeof DecompressionStream === "undefined") {
    $("#loading").textContent = "This browser is too old for this page: it cannot unpack compressed data.";
    return;
  }
  const data = await unpack($("#data").textContent);
  $("#title").textContent = data.runs.map((run) => run.name).join(" and ");
  const browser = data.index.sample.length ? new Browser(data) : null;
  const sections = [scores(data), training(data), breakdown(data), browser?.node].filter(Boolean);
  $("#main").replaceChildren(lead(data), ...sections, el("footer", { class: "soft small" }, `unmask ${data.version}`));
  $("#sections").append(...sections.map((part) => el("a", { href: `#${part.id}` }, $("h2", part).textContent)));
  await browser?.ready;
  const asked = /^#sample-(\d+)$/.exec(location.hash);
  if (browser && asked && Number(asked[1]) <= data.index.sample.length) {
    await browser.open(Number(asked[1]) - 1);
    browser.node.scrollIntoView();
  }
  document.addEventListener("keydown", (event) => onKey(event, browser));
  document.documentElement.dataset.ready = "true";
}

function onKey(event, browser) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("#help").open) return;
  const typing = event.target.matches("input[type=search], select");
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = keys(event, browser)[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function keys(event, browser) {
  const general = { t: nextTheme, "?": () => $("#help").showModal() };
  if (!browser) return general;
  const players = browser.detail.players;
  const each = (act) => () => players.forEach(act);
  const found = {
    ...general,
    j: () => browser.move(1),
    k: () => browser.move(-1),
    "/": () => browser.searchInput.focus(),
    c: each((player) => player.nextShade()),
  };
  if (!players.length) return found;
  // Buttons have the space bar for themselves, the slider its arrows.
  if (!event.target.matches("button, summary, a")) found[" "] = () => (players.length > 1 ? browser.detail.playBoth() : players[0].toggle());
  if (!event.target.matches("input")) {
    Object.assign(found, {
      ArrowLeft: each((player) => player.step(-1)),
      ArrowRight: each((player) => player.step(1)),
      Home: each((player) => { player.pause(); player.seek(0); }),
      End: each((player) => { player.pause(); player.seek(player.trajectory.length); }),
    });
  }
  return found;
}

start().catch((error) => {
  $("#main").prepend(el("p", { class: "note", role: "alert" }, `This page could not be drawn: ${error.message}`));
  throw error;
});
