/* Filter rules are tried on names: the server says of each whether it would go and which rule
   decides, as a run would. The rule sets that the form has chosen count too. */
(() => {
  "use strict";

  const MOST_LENT = 50;

  /* The rule sets of the form's table, in the order of their positions. */
  function chosenSets(form) {
    return [...form.querySelectorAll('select[name^="rule_set_uses-"][name$="-rule_set"]')]
      .filter((field) => field.value && !field.name.includes("__prefix__"))
      .map((field) => {
        const of = (part) => form.querySelector(`[name="${field.name.replace(/rule_set$/, part)}"]`);
        return { id: field.value, at: Number(of("position")?.value), gone: of("DELETE")?.checked };
      })
      .filter((use) => !use.gone)
      .sort((one, other) => one.at - other.at)
      .map((use) => Number(use.id));
  }

  function follow(box) {
    const input = box.querySelector(`[name="${box.dataset.rulesInput}"]`);
    const paths = box.querySelector("[data-rules-paths]");
    const table = box.querySelector("[data-rules-table]");
    const error = box.querySelector("[data-rules-error]");

    function fail(text) {
      error.textContent = text;
      error.hidden = !text;
      if (text) table.hidden = true;
    }

    function row(verdict) {
      const line = document.createElement("tr");
      const words = verdict.goes ? box.dataset.wordsGoes : box.dataset.wordsStays;
      const cells = [verdict.path, words, verdict.rule || box.dataset.wordsNone];
      for (const [number, text] of cells.entries()) {
        const cell = document.createElement("td");
        const place = document.createElement("span");
        place.className = number === 1 ? `sb-badge ${verdict.goes ? "sb-good" : "sb-idle"}` : "sb-path";
        place.textContent = text;
        cell.append(place);
        line.append(cell);
      }
      return line;
    }

    async function ask() {
      const names = paths.value.split("\n").filter((name) => name.trim());
      if (!names.length) {
        fail(box.dataset.wordsEmpty);
        return;
      }
      try {
        const answer = await fetch(box.dataset.rules, {
          method: "POST",
          headers: {
            Accept: "application/json",
            "Content-Type": "application/json",
            "X-CSRFToken": input.form.querySelector("[name=csrfmiddlewaretoken]").value,
          },
          body: JSON.stringify({
            filters: input.value,
            rule_sets: chosenSets(input.form),
            paths: names,
          }),
        });
        const told = await answer.json();
        fail(answer.ok ? "" : told.detail ?? Object.values(told).flat().join(" "));
        if (!answer.ok) return;
        table.tBodies[0].replaceChildren(...told.map(row));
        table.hidden = false;
      } catch {
        fail(box.dataset.wordsError);
      }
    }

    async function lend(folderField) {
      const folder = input.form.querySelector(`[data-folders-input="${folderField}"]`);
      const field = (name) => input.form.querySelector(`[name="${name}"]`).value;
      const storage = field(folder.dataset.foldersStorage);
      if (!storage) {
        fail(folder.dataset.wordsStorage);
        return;
      }
      const url = folder.dataset.folders.replace("/0/", `/${storage}/`);
      const query = new URLSearchParams({ path: field(folderField) });
      try {
        const answer = await fetch(`${url}?${query}`, { headers: { Accept: "application/json" } });
        const told = await answer.json();
        fail(told.failure?.message ?? (answer.ok ? "" : told.detail));
        const files = (told.entries ?? []).filter((entry) => !entry.is_dir).slice(0, MOST_LENT);
        paths.value = files.map((entry) => entry.name).join("\n");
      } catch {
        fail(box.dataset.wordsError);
      }
    }

    box.querySelector("[data-rules-try]").addEventListener("click", ask);
    const lender = box.querySelector("[data-rules-lend]");
    lender?.addEventListener("click", () => lend(lender.dataset.rulesLend));
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-rules]").forEach(follow);
  });
})();
