/* Makes unfold's attributes readable for Alpine's build that needs no eval: it knows one expression
   an attribute, without arrow functions, and no globals. What unfold keeps in globals becomes
   Alpine's data here; what it writes otherwise is written anew, before Alpine reads an element. */
(() => {
  "use strict";

  const SIDEBAR = "sidebarDesktopOpen";
  const SAVED_SIDEBAR = /\(localStorage\.getItem\('sidebarDesktopOpen'\) !== null\) \? .* : true/;

  /* By attribute: [what is found, what takes its place]. */
  const WRITTEN_ANEW = {
    "x-data": [[SAVED_SIDEBAR, () => String(localStorage.getItem(SIDEBAR) !== "0")]],
    "x-init": [
      [/getCurrentTab\(\) \|\|/, () => "$currentTab ||"],
      [/;\s*\$watch\('sidebarDesktopOpen'.*$/s, () => ""],
      [/^\s*activeTab = ''\s*$/, () => "true"],
    ],
    "x-on:click": [
      [/; localStorage\.setItem\('sidebarDesktopOpen'.*$/, () => "; $keepSidebar(sidebarDesktopOpen)"],
    ],
    "x-on:keydown.escape.prevent": [
      [/; if \(\$refs\.searchInput\.value.*$/s, () => "; $clear($refs.searchInput)"],
    ],
    "x-on:keydown.enter.prevent": [
      [/^if \((.*?)\) (selectItem\(.*\))$/, (_, condition, call) => `${condition} && ${call}`],
    ],
    "x-bind:action": [[/window\.location\.pathname \+ window\.location\.search/g, () => "$here"]],
    // As text it would become a style attribute, which the policy forbids.
    "x-bind:style": [[/^'width: ' \+ (\w+) \+ 'px'$/, (_, width) => `{ width: ${width} + 'px' }`]],
  };

  /* "a; b" as one expression. No text in unfold's attributes holds a semicolon. */
  function joined(expression) {
    const parts = expression.split(";").map((part) => part.trim()).filter(Boolean);
    return parts.length > 1 ? `[${parts.join(", ")}]` : expression;
  }

  function writeAnew(element) {
    for (const { name, value } of [...element.attributes]) {
      if (!name.startsWith("x-")) continue;
      let written = value;
      for (const [found, other] of WRITTEN_ANEW[name] ?? []) written = written.replace(found, other);
      if (name.startsWith("x-on:") || name === "x-init") written = joined(written);
      if (written !== value) element.setAttribute(name, written);
    }
  }

  document.addEventListener("alpine:init", () => {
    const { Alpine } = window;
    for (const name of ["theme", "searchForm", "searchDropdown", "searchCommand"]) {
      Alpine.data(name, window[name]);
    }
    Alpine.magic("currentTab", () => window.getCurrentTab());
    Alpine.magic("here", () => window.location.pathname + window.location.search);
    Alpine.magic("keepSidebar", () => (open) => localStorage.setItem(SIDEBAR, open ? "1" : "0"));
    // What is written is cleared; where nothing is, the field is left.
    Alpine.magic("clear", () => (field) => {
      if (field.value === "") field.blur();
      else field.value = "";
    });
    Alpine.interceptInit((element) => Alpine.mutateDom(() => writeAnew(element)));
  });
})();
