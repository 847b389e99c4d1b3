"use strict";
// Comfort for a page that is complete without it: filters, search, links, copying, keys.
// It only reads the page, sets attributes and creates elements with text. It loads nothing.

(() => {
  const byId = (id) => document.getElementById(id);
  const search = byId("~search");
  const shown = byId("~shown");
  const keys = byId("~keys");
  const rows = [...document.querySelectorAll("details.row")];
  const chips = [...document.querySelectorAll(".chip")];
  const chosen = new Set();
  let wasFiltered = false;
  const texts = new Map(); // a row's text in lower case, read when it is first searched

  const summaryOf = (row) => row.querySelector("summary");
  const bodyOf = (row) => row.querySelector(".body");
  const outcomeOf = (row) => summaryOf(row).querySelector(".badge").textContent;
  const visible = () => rows.filter((row) => !row.hidden);
  const current = () => document.activeElement && document.activeElement.closest("details.row");

  // Filters

  function textOf(row) {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  }

  function matches(row, words) {
    if (chosen.size && !chosen.has(outcomeOf(row))) return false;
    return words.every((word) => textOf(row).includes(word));
  }

  const isPressed = ({ dataset }, filtered) => dataset.outcome ? chosen.has(dataset.outcome) : !filtered;

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const filtered = chosen.size > 0 || words.length > 0;
    for (const chip of chips) chip.setAttribute("aria-pressed", isPressed(chip, filtered));
    if (!filtered && !wasFiltered) return;
    wasFiltered = filtered;
    for (const row of rows) row.hidden = !matches(row, words);
    for (const part of document.querySelectorAll(".chunk, section.rows")) {
      part.hidden = !part.querySelector("details.row:not([hidden])");
    }
    for (const part of document.querySelectorAll(".overview")) part.hidden = filtered;
    shown.textContent = filtered ? `${visible().length} of ${rows.length} shown` : "";
  }

  function writeFilterToAddress() {
    const state = new URLSearchParams();
    if (chosen.size) state.set("outcome", [...chosen].join(","));
    if (search.value) state.set("text", search.value);
    history.replaceState(null, "", String(state) ? `#?${state}` : location.pathname + location.search);
  }

  function choose(outcome) {
    if (!outcome) showEverything();
    else if (!chosen.delete(outcome)) chosen.add(outcome);
    filter();
    writeFilterToAddress();
  }

  function showEverything() {
    chosen.clear();
    search.value = "";
    filter();
  }

  // Links: `#NAME` opens a scenario, `#?outcome=FAIL&text=words` filters.

  function follow() {
    const hash = decodeURIComponent(location.hash.slice(1));
    if (hash.startsWith("?")) {
      const state = new URLSearchParams(hash);
      chosen.clear();
      for (const outcome of (state.get("outcome") || "").split(",")) {
        if (outcome && chips.some((chip) => chip.dataset.outcome === outcome)) chosen.add(outcome);
      }
      search.value = state.get("text") || "";
      filter();
      return;
    }
    const target = hash && byId(hash);
    const row = target && target.closest("details.row");
    if (!target || !row && !target.closest("main")) return;
    if (row && row.hidden) showEverything();
    if (row) row.open = true;
    if (row) summaryOf(row).focus({ preventScroll: true });
    (row || target).scrollIntoView();
  }

  // Copying

  function copyText(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied ? Promise.resolve() : Promise.reject(new Error("not copied"));
  }

  function createCopyButton(label, getText) {
    const button = document.createElement("button");
    const restore = () => { button.textContent = label; };
    button.type = "button";
    button.addEventListener("click", () => copyText(getText()).then(
      () => { button.textContent = "Copied"; setTimeout(restore, 1500); },
      () => { button.textContent = "Select the text and copy it"; },
    ));
    restore();
    return button;
  }

  const linkTo = (row) => `${location.href.split("#")[0]}#${bodyOf(row).id}`;
  const sourceOf = (row, kind) => row.querySelector(`[data-copy="${kind}"]`);

  // The buttons of a row are created when it is first opened, as most are never opened.
  function addButtons(row) {
    if (row.dataset.buttons) return;
    row.dataset.buttons = "yes";
    const bar = document.createElement("div");
    bar.className = "buttons";
    for (const [kind, label] of [["prompt", "Copy prompt for an agent"], ["repeat", "Copy command"]]) {
      const source = sourceOf(row, kind);
      if (source) bar.append(createCopyButton(label, () => source.textContent));
    }
    bar.append(createCopyButton("Copy link", () => linkTo(row)));
    bodyOf(row).prepend(bar);
  }

  // Keys

  function move(step, among) {
    const at = among.indexOf(current());
    const next = at < 0 ? among[step > 0 ? 0 : among.length - 1] : among[at + step];
    if (!next) return;
    summaryOf(next).focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  function moveToNextFailure() {
    const list = visible();
    const at = list.indexOf(current());
    const blocks = (row) => row.classList.contains("blocks");
    const next = list.slice(at + 1).find(blocks) || list.find(blocks);
    if (!next) return;
    next.open = true;
    summaryOf(next).focus({ preventScroll: true });
    next.scrollIntoView();
  }

  function copyFromCurrent(kind) {
    const row = current();
    const source = row && sourceOf(row, kind);
    if (!source) return;
    copyText(source.textContent).then(
      () => { shown.textContent = `The ${kind === "prompt" ? "prompt" : "command"} was copied`; },
      () => { shown.textContent = "It could not be copied"; },
    );
  }

  const actions = {
    "j": () => move(1, visible()),
    "k": () => move(-1, visible()),
    "f": moveToNextFailure,
    "c": () => copyFromCurrent("prompt"),
    "r": () => copyFromCurrent("repeat"),
    "/": () => search.focus(),
    "?": () => keys.showModal(),
    "Escape": () => { showEverything(); writeFilterToAddress(); },
  };

  function onKey(event) {
    const typing = event.target.matches && event.target.matches("input, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (typing && event.key !== "Escape") return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    if (typing) event.target.blur();
    action();
  }

  // Start

  byId("~tools").hidden = false;
  byId("~help").addEventListener("click", () => keys.showModal());
  byId("~close").addEventListener("click", () => keys.close());
  for (const chip of chips) {
    chip.setAttribute("role", "button");
    chip.addEventListener("click", (event) => {
      event.preventDefault();
      choose(chip.dataset.outcome);
    });
    chip.addEventListener("keydown", (event) => {
      if (event.key === " ") { event.preventDefault(); choose(chip.dataset.outcome); }
    });
  }
  search.addEventListener("input", () => { filter(); writeFilterToAddress(); });
  document.addEventListener("toggle", (event) => {
    if (event.target.matches("details.row") && event.target.open) addButtons(event.target);
  }, true);
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll(".origins")) part.open = true;
    for (const row of rows) if (row.classList.contains("blocks")) row.open = true;
  });
  for (const row of rows) if (row.open) addButtons(row);
  filter();
  follow();
  // A browser takes the focus away when it goes to the target of the address, after this script.
  addEventListener("load", () => setTimeout(() => { if (!current()) follow(); }));
  document.documentElement.dataset.ready = "yes";
})();
