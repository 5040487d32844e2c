/* What the theme leaves to the mouse, or without a name: its menus, tabs and dialogs, and fields
   that search. The words for them stand in the page, in the reader's language. */
(() => {
  "use strict";

  const NATIVE = "a[href]:not([href='#']), button, input, label, select, summary, textarea";
  const REACHED = "a[href], button:enabled, input:enabled, select, textarea, [role=button]";
  const ICON = ".material-symbols-outlined";
  // "open = !open" and "open = true", also where alpine.js has written more behind it.
  const OPENS = /^\[?(\w+) = (?:!\1|true)\b/;
  /* What is said of a button that is an icon alone; the name of one may come later. */
  const WORDS = { close: "close", dock_to_right: "menu", "": "theme" };
  /* What is chosen among several, by the expression that chooses it. */
  const CHOOSES = [
    [/^(activeFieldsetTab|adminTheme) = ('[^']*')$/, "$1 == $2"],
    [/^switchTheme\(('\w+')\)$/, "adminTheme == $1"],
  ];

  /* Make a button of whatever Alpine only lets a mouse click. */
  function reach(element) {
    const click = element.getAttribute("x-on:click");
    const isNative = element.matches(NATIVE);
    if (element.matches("a, button") || (click && !isNative)) {
      const said = textOf(element);
      const icon = element.matches(ICON) ? element : element.querySelector(ICON);
      // What has neither stands behind a menu, to be clicked in order to leave it.
      if (!said && !icon) return;
      name(element, said, icon);
    }
    if (!click || isNative) return;
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    const [, opened] = OPENS.exec(click) ?? [];
    if (opened) {
      element.dataset.opens = opened;
      element.setAttribute("x-bind:aria-expanded", opened);
    }
    for (const [chooses, chosen] of CHOOSES) {
      if (chooses.test(click)) {
        element.setAttribute("x-bind:aria-pressed", click.replace(chooses, chosen));
      }
    }
  }

  /* An icon is made of a word, which is not to be read aloud beside the name. */
  function name(element, said, icon) {
    if (said) {
      for (const part of element.querySelectorAll(ICON)) part.setAttribute("aria-hidden", "true");
    } else if (element.title || !element.matches(NATIVE)) {
      element.setAttribute("aria-label", element.title || wordOf(element, icon));
    }
  }

  /* The text of an element without the words that its icons are made of. */
  function textOf(element) {
    const copy = element.cloneNode(true);
    for (const icon of copy.querySelectorAll(ICON)) icon.remove();
    return copy.matches(ICON) ? "" : copy.textContent.trim();
  }

  function wordOf(element, icon) {
    const words = document.getElementById("modal-content").dataset;
    const name = words[WORDS[icon.textContent.trim()] ?? "more"];
    const row = element.closest("#result_list tr")?.querySelector("a[href]")?.textContent.trim();
    return row ? `${name}: ${row}` : name;
  }

  /* The menu that a button opens elsewhere in the page; what opens right behind it needs none. */
  function menuOf(button) {
    const name = button.dataset.opens;
    if (name === "sidebarMobileOpen") return document.getElementById("nav-sidebar");
    const within = button.closest("[x-data]");
    return [...within.querySelectorAll("nav, #changelist-filter, template[x-teleport]")]
      .map((place) => place._x_teleport ?? place)
      .find((place) => place.getAttribute("x-show") === name);
  }

  /* The button of the open menu that holds this element, or the element if it is that button. */
  function openerOf(element) {
    return [...document.querySelectorAll("[data-opens][aria-expanded=true]")].find((button) => {
      const menu = menuOf(button);
      return menu && !menu.contains(button) && (button === element || menu.contains(element));
    });
  }

  function reachedIn(menu) {
    return [...menu.querySelectorAll(REACHED)].filter((one) => one.checkVisibility());
  }

  /* Once it is seen, which takes a frame or two: what is hidden cannot have the focus. */
  function focusOn(find, frames = 60) {
    const place = find();
    if (place?.checkVisibility()) place.focus();
    else if (frames) window.requestAnimationFrame(() => focusOn(find, frames - 1));
  }

  function press(button) {
    const opener = openerOf(button);
    button.click();
    window.Alpine.nextTick(() => {
      if (opener && opener === openerOf(opener)) return;
      if (opener) opener.focus();
      else if (button === openerOf(button)) focusOn(() => reachedIn(menuOf(button))[0]);
    });
  }

  function close(opener) {
    window.Alpine.$data(opener)[opener.dataset.opens] = false;
    opener.focus();
  }

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if ((key === "Enter" || key === " ") && target.matches("[role=button]:not(button)")) {
      event.preventDefault();
      press(target);
      return;
    }
    const opener = openerOf(target);
    if (!opener) return;
    const ends = key === "Tab" ? reachedIn(menuOf(opener)) : [];
    if (key === "Escape" || (ends.length && target === ends.at(event.shiftKey ? 0 : -1))) {
      event.preventDefault();
      close(opener);
    }
  });

  /* An open dialog has the focus and keeps it; then it goes back to where it was, or to the button
     of the menu that it was in. */
  function followDialog() {
    const dialog = document.getElementById("modal-content");
    let left = null;
    window.Alpine.effect(() => {
      const { openModal } = window.Alpine.$data(document.documentElement);
      if (!openModal && !left) return;
      if (openModal) {
        const opener = openerOf(document.activeElement);
        if (opener) close(opener);
        left = document.activeElement;
        const title = dialog.querySelector("h1");
        if (title) title.id = dialog.getAttribute("aria-labelledby");
      }
      for (const part of document.body.children) part.inert = openModal && !part.contains(dialog);
      if (openModal) focusOn(() => dialog.querySelector("input:not([type=hidden])") ?? dialog);
      else if (left.isConnected) left.focus();
    });
  }

  /* What jQuery makes of fields that search has no name. */
  function nameSearches() {
    for (const box of document.querySelectorAll(".select2-selection[role=combobox]")) {
      const label = labelOf(box);
      if (!label) continue;
      label.id ||= `${label.htmlFor}_label`;
      const chosen = box.querySelector("[role=textbox], [role=searchbox]");
      box.setAttribute("aria-labelledby", `${label.id} ${chosen?.id ?? ""}`.trim());
      chosen?.setAttribute("aria-labelledby", label.id);
    }
    for (const input of document.querySelectorAll(".select2-selection--multiple input[type=search]")) {
      const label = labelOf(input);
      if (label) input.setAttribute("aria-label", label.textContent.trim());
    }
    for (const tip of document.querySelectorAll("span.help-tooltip[aria-label]")) {
      tip.setAttribute("role", "img");
    }
  }

  function labelOf(part) {
    const field = part.closest(".select2-container").previousElementSibling;
    return field?.id ? document.querySelector(`label[for="${CSS.escape(field.id)}"]`) : null;
  }

  document.addEventListener("alpine:init", () => {
    window.Alpine.interceptInit((element) => window.Alpine.mutateDom(() => reach(element)));
  });
  document.addEventListener("alpine:initialized", followDialog);
  // After jQuery's own start, which makes those fields and may come later than `load`.
  window.addEventListener("load", () => window.setTimeout(nameSearches));
})();
