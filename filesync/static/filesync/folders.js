/* A field for a folder opens the folders of its storage, one level at a time; what is entered is
   chosen. The storage is tested in place. Names are set as text, so that a folder's name can never
   become markup. */
(() => {
  "use strict";

  function follow(box) {
    const input = box.querySelector(`[name="${box.dataset.foldersInput}"]`);
    const opener = box.querySelector("[data-folders-open]");
    const panel = box.querySelector("[data-folders-panel]");
    const list = box.querySelector("[data-folders-list]");
    const rest = box.querySelector("[data-folders-rest]");
    let page = 1;
    let asked = 0;
    let tested = 0;

    function say(name, text) {
      const place = box.querySelector(`[data-folders-${name}]`);
      place.textContent = text;
      place.hidden = !text;
    }

    function line(name) {
      const entry = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sb-path";
      button.textContent = name;
      button.addEventListener("click", () => enter(input.value ? `${input.value}/${name}` : name));
      entry.append(button);
      return entry;
    }

    function chosen() {
      return input.form.querySelector(`[name="${box.dataset.foldersStorage}"]`).value;
    }

    function reason(told) {
      if (told.failure) return `${told.failure.message} ${told.failure.advice}`;
      return told.detail ?? Object.values(told).flat().join(" ");
    }

    async function test() {
      const note = box.querySelector("[data-folders-tested]");
      const storage = chosen();
      const number = ++tested;
      function tell(text, bad) {
        if (number !== tested) return;
        note.textContent = text;
        note.classList.toggle("sb-bad", bad);
        note.hidden = false;
      }
      if (!storage) return tell(box.dataset.wordsStorage, true);
      tell(box.dataset.wordsBusy, false);
      try {
        const answer = await fetch(box.dataset.foldersTestAt.replace("/0/", `/${storage}/`), {
          method: "POST",
          headers: {
            Accept: "application/json",
            "X-CSRFToken": input.form.querySelector("[name=csrfmiddlewaretoken]").value,
          },
        });
        const told = await answer.json();
        const works = answer.ok && told.ok;
        tell(works ? box.dataset.wordsWorks : reason(told), !works);
      } catch {
        tell(box.dataset.wordsError, true);
      }
    }

    async function read(more) {
      const storage = chosen();
      const number = ++asked;
      page = more ? page + 1 : 1;
      if (!more) list.replaceChildren();
      rest.hidden = true;
      say("error", "");
      say("note", "");
      box.querySelector("[data-folders-path]").textContent = `/${input.value}`;
      box.querySelector("[data-folders-up]").disabled = !input.value;
      if (!storage) {
        say("error", box.dataset.wordsStorage);
        return;
      }
      const query = new URLSearchParams({ path: input.value, page });
      try {
        const url = box.dataset.folders.replace("/0/", `/${storage}/`);
        const answer = await fetch(`${url}?${query}`, { headers: { Accept: "application/json" } });
        const told = await answer.json();
        if (number !== asked) return;
        if (!answer.ok || told.failure) {
          say("error", reason(told));
          return;
        }
        const folders = told.entries.filter((entry) => entry.is_dir);
        list.append(...folders.map((entry) => line(entry.name)));
        // Folders come first: a page that ends with a file has the last of them.
        rest.hidden = told.page >= told.pages || folders.length < told.entries.length;
        say("note", list.children.length ? "" : box.dataset.wordsEmpty);
      } catch {
        if (number === asked) say("error", box.dataset.wordsError);
      }
    }

    function enter(path) {
      input.value = path;
      input.dispatchEvent(new Event("input", { bubbles: true }));
      read(false);
    }

    opener.addEventListener("click", () => {
      panel.hidden = !panel.hidden;
      opener.setAttribute("aria-expanded", String(!panel.hidden));
      if (!panel.hidden) read(false);
    });
    box.querySelector("[data-folders-test]").addEventListener("click", test);
    box.querySelector("[data-folders-up]").addEventListener("click", () => {
      enter(input.value.split("/").slice(0, -1).join("/"));
    });
    box.querySelector("[data-folders-more]").addEventListener("click", () => read(true));
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-folders]").forEach(follow);
  });
})();
