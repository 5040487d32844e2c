/* What the admin's own pages need beside unfold: places that a poll fills, and dialogs of buttons
   that are made while the page lives. No words are here: they come ready from the server, and are
   set as text, so that a file name can never become markup. */
(() => {
  "use strict";

  // Before htmx is ready: it would add a <style> of its own then, which the policy forbids.
  window.htmx.config.includeIndicatorStyles = false;

  const EVERY_MS = 2000;
  const RENEWED_EVERY_MS = 30000;
  const ATTRIBUTES = new Set(["href", "title", "class", "value", "aria-label", "data-dialog"]);

  /* Fill an element's places from a document:
     data-text="key"               the text
     data-attr="href:key,title:k"  attributes; null takes one away, so that a bar shows no number
     data-show="key"               whether it is seen
     data-list="key"               one copy of its <template> for each entry
     A place inside another [data-live] belongs to that one's own poll. */
  function fill(root, doc) {
    for (const place of own(root, "[data-text]")) {
      if (place.dataset.text in doc) write(place, doc[place.dataset.text] ?? "");
    }
    for (const place of own(root, "[data-show]")) {
      if (place.dataset.show in doc) place.hidden = !doc[place.dataset.show];
    }
    for (const place of own(root, "[data-attr]")) {
      for (const pair of place.dataset.attr.split(",")) {
        const [name, key] = pair.split(":");
        if (!ATTRIBUTES.has(name) || !(key in doc)) continue;
        if (doc[key] === null) place.removeAttribute(name);
        else if (place.getAttribute(name) !== String(doc[key])) place.setAttribute(name, doc[key]);
      }
    }
    for (const place of own(root, "[data-list]")) {
      if (place.dataset.list in doc) repeat(place, doc[place.dataset.list]);
    }
  }

  /* Where a log ends, whoever looks at its end goes on doing so. */
  function write(place, text) {
    const below = place.scrollHeight - place.clientHeight - place.scrollTop;
    place.textContent = text;
    if ("tail" in place.dataset && below < 8) place.scrollTop = place.scrollHeight;
  }

  /* The places of this element and not those inside a list of it, which have their own document. */
  function own(root, selector) {
    const found = [...root.querySelectorAll(selector)].filter(
      (place) => place.parentElement.closest("[data-list], [data-live]") === listOf(root)
    );
    return root.matches(selector) && root.dataset.list === undefined ? [root, ...found] : found;
  }

  function listOf(root) {
    return root.matches("[data-list], [data-live]") ? root : root.closest("[data-list], [data-live]");
  }

  /* Copies are reused: what has the focus, or the mouse over it, stays. */
  function repeat(list, entries) {
    const template = list.querySelector(":scope > template");
    const copies = [...list.children].filter((child) => child !== template);
    entries.forEach((entry, number) => {
      if (!copies[number]) {
        const copy = template.content.firstElementChild.cloneNode(true);
        list.append(copy);
        copies.push(copy);
      }
      fill(copies[number], entry);
    });
    copies.slice(entries.length).forEach((copy) => copy.remove());
  }

  function show(root, doc) {
    if (root.dataset.state && doc.state && root.dataset.state !== doc.state) {
      // Queued became running, or it ended: the page has other parts then.
      window.location.reload();
      return;
    }
    fill(root, doc);
    for (const [name, part] of Object.entries(doc.scopes ?? {})) {
      const place = document.querySelector(`[data-scope="${name}"]`);
      if (place) fill(place, part);
    }
  }

  /* Ask again and again: one question at a time, and none in a hidden tab. "over" ends it; after
     "left" it goes on once the tab is seen again, as who is signed out signs in elsewhere. */
  function keepAsking(ask, everyMs) {
    let timer = 0;
    let asking = false;
    let over = false;
    async function turn() {
      window.clearTimeout(timer);
      if (asking || over || document.hidden) return;
      asking = true;
      const outcome = await ask();
      asking = false;
      over = outcome === "over";
      if (!over && outcome !== "left") timer = window.setTimeout(turn, everyMs);
    }
    document.addEventListener("visibilitychange", turn);
    timer = window.setTimeout(turn, everyMs);
  }

  function follow(root) {
    const notes = new Map(
      [...root.querySelectorAll(":scope > [data-note]")].map((note) => [note.dataset.note, note])
    );
    async function poll() {
      try {
        const answer = await fetch(root.dataset.live, { headers: { Accept: "application/json" } });
        if (answer.redirected) return "left";
        if (!answer.ok) return "lost";
        const doc = await answer.json();
        show(root, doc);
        return doc.ended ? "over" : "told";
      } catch {
        return "lost";
      }
    }
    async function ask() {
      const outcome = await poll();
      for (const [name, note] of notes) note.hidden = name !== outcome;
      return outcome;
    }
    keepAsking(ask, Number(root.dataset.everyMs) || EVERY_MS);
  }

  /* A part with data-renewed costs more than a poll may: it is taken from the page, read again, but
     not while somebody is in it. */
  async function renew(parts) {
    try {
      const answer = await fetch(window.location.href);
      if (answer.redirected) return "left";
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) {
        const renewed = answer.ok && page.getElementById(part.id);
        if (renewed && !part.contains(document.activeElement)) {
          part.replaceChildren(...renewed.childNodes);
        }
      }
    } catch {
      // The page's poll says that the server is away.
    }
    return "told";
  }

  /* A button with data-dialog opens the dialog at that address, which posts with its CSRF token. */
  function openDialog(url) {
    window.htmx
      .ajax("GET", url, { target: "#modal-content", select: "#dialog" })
      .then(() => {
        window.Alpine.$data(document.documentElement).openModal = true;
      });
  }

  /* A button with data-post posts to that address what it names in data-body; the answer says where
     to go on. */
  async function post({ post: url, body }) {
    const token = document.querySelector("input[name=csrfmiddlewaretoken]").value;
    const answer = await fetch(url, {
      method: "POST",
      headers: { "X-CSRFToken": token },
      body: new URLSearchParams(body),
    });
    const next = answer.headers.get("HX-Redirect");
    if (next && next !== window.location.pathname) window.location.assign(next);
    else window.location.reload();
  }

  document.addEventListener("click", (event) => {
    const switched = event.target.closest("[data-post]");
    if (switched) post(switched.dataset);
    const button = event.target.closest("[data-dialog]");
    if (button) {
      event.preventDefault();
      openDialog(button.dataset.dialog);
    }
  });

  document.addEventListener("DOMContentLoaded", () => {
    for (const root of document.querySelectorAll("[data-live]")) {
      const first = document.getElementById(root.dataset.first ?? "");
      if (first) show(root, JSON.parse(first.textContent));
      follow(root);
    }
    const parts = document.querySelectorAll("[data-renewed]");
    if (parts.length) keepAsking(() => renew(parts), RENEWED_EVERY_MS);
  });
})();
