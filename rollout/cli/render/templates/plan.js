"use strict";
/* Fills the table of nodes from the data in the page. Everything is written as text, never as markup. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const KIND = { fate: 0, going: 1, namespace: 2, prefixed: 3, owner: 4, budgets: 5, note: 6, alone: 7, remedy: 8 };
  const FIELDS = 4, MOST_OPEN = 60, MOST_ROWS = 500;
  const list = document.getElementById("nodes");
  const details = Array.from(list.children);
  details.forEach((one, node) => { one.dataset.node = node; one.append(element("div", undefined, "body")); });
  const form = document.getElementById("filter");
  const control = (name) => form.elements.namedItem(name);
  const text = (number) => data.strings[number];
  const place = (number) => number < 0 ? "" : number < data.nodes.length ? data.nodes[number] : data.elsewhere[number - data.nodes.length];
  const starts = data.classes.map((row) => text(row[KIND.namespace]) + "/" + (row[KIND.prefixed] ? text(row[KIND.owner]).split("/").pop() + "-" : ""));
  const lowStarts = starts.map((words) => words.toLowerCase());
  const classWords = data.classes.map((row) => [KIND.namespace, KIND.owner, KIND.budgets].map((at) => text(row[at])).join(" ").toLowerCase());
  const nodeWords = data.nodes.map((name, at) => (name + " " + data.facts[at].map(text).join(" ")).toLowerCase());
  const podCount = data.pods.map((row) => row.length / FIELDS);
  const waits = data.pods.map((row) => {
    let found = 0;
    for (let at = 0; at < row.length; at += FIELDS) found += data.classes[row[at]][KIND.going] === 1;
    return found;
  });
  let wanted = { words: [], wave: "", going: "", fate: "", namespace: "" };

  function podMatches(row, at, left) {
    const kind = data.classes[row[at]];
    if (wanted.going !== "" && kind[KIND.going] !== Number(wanted.going)) return false;
    if (wanted.fate !== "" && kind[KIND.fate] !== Number(wanted.fate)) return false;
    if (wanted.namespace !== "" && text(kind[KIND.namespace]) !== wanted.namespace) return false;
    if (left.length === 0) return true;
    const ending = row[at + 1].toLowerCase();
    const words = classWords[row[at]];
    const name = lowStarts[row[at]] + ending;
    return left.every((word) => name.includes(word) || words.includes(word));
  }

  function matching(node) {
    const left = wanted.words.filter((word) => !nodeWords[node].includes(word));
    const row = data.pods[node], found = [];
    for (let at = 0; at < row.length; at += FIELDS) if (podMatches(row, at, left)) found.push(at);
    return found;
  }

  function nodeMatches(node, found) {
    if (wanted.wave !== "" && data.waves[node] !== Number(wanted.wave)) return false;
    if (found > 0) return true;
    const podsAsked = wanted.going !== "" || wanted.fate !== "" || wanted.namespace !== "";
    return !podsAsked && wanted.words.every((word) => nodeWords[node].includes(word));
  }

  function element(tag, words, kind) {
    const made = document.createElement(tag);
    if (words !== undefined) made.textContent = words;
    if (kind) made.className = kind;
    return made;
  }

  function podRow(row, at) {
    const kind = data.classes[row[at]], line = document.createElement("tr");
    const going = kind[KIND.going];
    line.className = going === 1 ? "care" : going === 2 ? "bad" : "plain";
    const notes = [text(row[at + 3]), text(kind[KIND.remedy]), kind[KIND.alone] ? "the only one of its workload" : "", text(kind[KIND.note])];
    const cells = [
      starts[row[at]] + row[at + 1], data.fates[kind[KIND.fate]],
      going < 0 ? "-" : data.going[going], text(kind[KIND.owner]), text(kind[KIND.budgets]) || "-",
      place(row[at + 2]) || "-", notes.filter((words) => words).join("; "),
    ];
    for (const words of cells) line.append(element("td", words, "long"));
    return line;
  }

  function podTable(node, found) {
    const table = document.createElement("table"), head = document.createElement("thead");
    const titles = document.createElement("tr"), body = document.createElement("tbody");
    for (const title of ["pod", "what", "going", "owner", "budgets", "lands on", "note"]) titles.append(element("th", title));
    head.append(titles);
    for (const at of found.slice(0, MOST_ROWS)) body.append(podRow(data.pods[node], at));
    table.append(head, body);
    const scroll = element("div", undefined, "scroll");
    scroll.append(table);
    return scroll;
  }

  function fill(one) {
    const node = Number(one.dataset.node), body = one.querySelector(".body"), facts = document.createElement("dl");
    const row = data.facts[node], found = matching(node);
    for (let at = 0; at < row.length; at += 2) facts.append(element("dt", text(row[at])), element("dd", text(row[at + 1])));
    body.replaceChildren(facts);
    if (data.risks[node].length) {
      const risks = element("ul", undefined, "care");
      for (const risk of data.risks[node]) risks.append(element("li", "risk: " + text(risk)));
      body.append(risks);
    }
    const shown = found.length < podCount[node] ? `${found.length} of its ${podCount[node]} pods match` : podCount[node] === 1 ? "1 pod" : `${podCount[node]} pods`;
    body.append(element("p", shown, "faint"));
    if (found.length) body.append(podTable(node, found));
    if (found.length > MOST_ROWS) body.append(element("p", `and ${found.length - MOST_ROWS} more: narrow the search`, "care"));
  }

  function apply() {
    wanted = {
      words: control("words").value.toLowerCase().split(/\s+/).filter((word) => word),
      wave: control("wave").value, going: control("going").value, fate: control("fate").value,
      namespace: control("namespace").value.trim(),
    };
    let nodes = 0, pods = 0;
    for (const one of details) {
      const node = Number(one.dataset.node), found = matching(node).length, fits = nodeMatches(node, found);
      one.hidden = !fits;
      if (fits) { nodes += 1; pods += found; }
      if (fits && one.open) fill(one);
    }
    document.getElementById("found").textContent = `${nodes.toLocaleString("en")} nodes, ${pods.toLocaleString("en")} pods`;
  }

  function order() {
    const by = {
      wave: () => 0, name: (a, b) => (data.nodes[a] < data.nodes[b] ? -1 : 1),
      pods: (a, b) => podCount[b] - podCount[a], waits: (a, b) => waits[b] - waits[a],
    }[control("order").value];
    const sorted = details.slice().sort((a, b) => by(Number(a.dataset.node), Number(b.dataset.node)) || a.dataset.node - b.dataset.node);
    list.append(...sorted);
  }

  const shown = () => details.filter((one) => !one.hidden);
  function openSome(most) { for (const one of shown().slice(0, most)) { fill(one); one.open = true; } }

  let later = 0;
  form.addEventListener("input", () => { clearTimeout(later); later = setTimeout(apply, 120); });
  form.addEventListener("submit", (event) => event.preventDefault());
  control("order").addEventListener("change", order);
  document.getElementById("open").addEventListener("click", () => openSome(MOST_OPEN));
  document.getElementById("close").addEventListener("click", () => { for (const one of details) one.open = false; });
  list.addEventListener("toggle", (event) => { if (event.target.open) fill(event.target); }, true);
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = shown().filter((one) => !one.open);
    if (shown().length > MOST_OPEN) opened = [];
    for (const one of opened) { fill(one); one.open = true; }
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
  const names = document.getElementById("namespaces");
  for (const name of Array.from(new Set(data.classes.map((row) => text(row[KIND.namespace])))).sort()) {
    const option = document.createElement("option");
    option.value = name;
    names.append(option);
  }
  form.hidden = false;
  apply();
})();
