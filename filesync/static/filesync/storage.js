/* The form of a storage: types are found while one types, options that do not count with the chosen
   provider are hidden, and what stands in the form is tested and browsed without saving it. The
   server decides; without this the form can be filled in and saved all the same. */
(() => {
  "use strict";

  function pick(root) {
    const search = root.querySelector("[data-pick-search]");
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      for (const entry of root.querySelectorAll("[data-pick-words]")) {
        entry.hidden = !entry.dataset.pickWords.toLowerCase().includes(wanted);
      }
    });
  }

  /* As the server's counts_for: a list of providers, all but them after "!". */
  function counts(condition, provider) {
    if (!condition || !provider) return true;
    const names = condition.replace(/^!/, "").split(",");
    return names.includes(provider) !== condition.startsWith("!");
  }

  function followProvider(form) {
    const chosen = form.querySelector("[name=option_provider]");
    if (!chosen) return;
    function show() {
      for (const field of form.querySelectorAll("[data-provider]:not(option)")) {
        // What has a value stays in sight, whether it counts or not.
        const row = field.closest(".field-line") ?? field.closest(".group");
        if (row) row.hidden = !field.value && !counts(field.dataset.provider, chosen.value);
      }
      for (const example of form.querySelectorAll("datalist option[data-provider]")) {
        example.disabled = !counts(example.dataset.provider, chosen.value);
      }
    }
    chosen.addEventListener("input", show);
    show();
  }

  function draft(root) {
    const form = root.closest("form");
    const note = root.querySelector("[data-draft-answer]");
    const list = note.querySelector("[data-draft-list]");
    let asked = 0;

    function tell(answer) {
      note.hidden = false;
      note.classList.toggle("sb-bad", answer.ok === false);
      note.querySelector("[data-draft-text]").textContent = answer.text ?? "";
      note.querySelector("[data-draft-advice]").textContent = answer.advice ?? "";
      const folders = answer.folders ?? [];
      const up = typeof answer.up === "string" ? [{ name: note.dataset.up, root: answer.up }] : [];
      list.replaceChildren(
        ...(answer.wrong ?? []).map((text) => {
          const line = document.createElement("li");
          line.textContent = text;
          return line;
        }),
        ...[...up, ...folders].map(folderLine)
      );
    }

    function folderLine(folder) {
      const line = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sb-folder";
      button.textContent = folder.name;
      button.addEventListener("click", () => {
        const field = form.querySelector("[name=root]");
        field.value = folder.root;
        field.dispatchEvent(new Event("input", { bubbles: true }));
        ask("browse");
      });
      line.append(button);
      return line;
    }

    async function ask(what) {
      const number = ++asked;
      tell({ text: note.dataset.busy });
      const url = what === "test" ? root.dataset.draftTest : root.dataset.draftBrowse;
      let answer;
      try {
        const told = await fetch(url, {
          method: "POST",
          body: new FormData(form),
          headers: { Accept: "application/json" },
        });
        if (!told.ok || told.redirected) throw new Error(String(told.status));
        answer = await told.json();
      } catch {
        answer = { ok: false, text: note.dataset.lost };
      }
      // A slow answer to an older question must not overwrite a newer one.
      if (number === asked) tell(answer);
    }

    for (const button of root.querySelectorAll("[data-draft]")) {
      button.hidden = false;
      button.addEventListener("click", () => ask(button.dataset.draft));
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-pick]").forEach(pick);
    document.querySelectorAll("#storage_form").forEach(followProvider);
    document.querySelectorAll("[data-draft-test]").forEach(draft);
  });
})();
