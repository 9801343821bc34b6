"use strict";
(() => {
  const make = (tag, text, parent, act) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (parent) parent.append(made);
    if (act) { made.type = "button"; made.addEventListener("click", act); }
    return made;
  };

  // -- tables that sort: by the values of numbers, else by words in which 2 comes before 10
  const byWords = new Intl.Collator("en", { numeric: true }).compare;
  const compare = (a, b) => {
    if (a.empty || b.empty) return 0;
    return a.value !== null && b.value !== null ? a.value - b.value : byWords(a.text, b.text);
  };
  const keyOf = (cell) => ({
    value: cell.dataset.value === undefined ? null : Number(cell.dataset.value),
    text: cell.textContent,
    empty: cell.textContent === "–",
  });
  const sortBy = (table, heading) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const each of table.tHead.rows[0].cells) each.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const place = heading.cellIndex;
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: keyOf(row.cells[place]) }));
    rows.sort((a, b) => a.key.empty - b.key.empty || (down ? compare(b.key, a.key) : compare(a.key, b.key)));
    table.tBodies[0].append(...rows.map((each) => each.row));
  };
  for (const table of document.querySelectorAll("table")) {
    for (const heading of table.tHead.rows[0].cells) {
      const text = heading.textContent;
      heading.textContent = "";
      heading.setAttribute("aria-sort", "none");
      make("button", text, heading, () => sortBy(table, heading));
    }
  }

  // -- figures that enlarge, and are saved with the colours that they have on the page
  const PAINT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity",
    "font-size", "font-weight", "font-family", "text-anchor", "visibility"];
  const alone = (svg) => {
    const copy = svg.cloneNode(true);
    const from = [svg, ...svg.querySelectorAll("*")];
    [copy, ...copy.querySelectorAll("*")].forEach((each, n) => {
      const style = getComputedStyle(from[n]);
      for (const name of PAINT) each.style.setProperty(name, style.getPropertyValue(name));
      for (const name of ["class", "tabindex", "data-curves"]) each.removeAttribute(name);
    });
    const [, , width, height] = svg.getAttribute("viewBox").split(" ");
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    copy.style.background = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
    return { text: new XMLSerializer().serializeToString(copy), width: Number(width), height: Number(height) };
  };
  const save = (blob, name) => {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const fileName = (figure, suffix) => `${figure.dataset.name.replace(/[^\w.-]+/g, "-")}.${suffix}`;
  const saveSvg = (figure) => save(new Blob([alone(figure.querySelector("svg")).text], { type: "image/svg+xml" }), fileName(figure, "svg"));
  const savePng = (figure) => {
    const drawn = alone(figure.querySelector("svg"));
    const image = new Image();
    image.onload = () => {
      const canvas = make("canvas");
      canvas.width = 3 * drawn.width;
      canvas.height = 3 * drawn.height;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, fileName(figure, "png")), "image/png");
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawn.text)}`;
  };
  const dialog = make("dialog", "", document.body);
  dialog.setAttribute("aria-label", "enlarged figure");
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    hide();
    document.body.append(values);
    dialog.textContent = "";
  });
  const enlarge = (figure) => {
    dialog.textContent = "";
    make("p", figure.querySelector("figcaption").textContent, dialog).className = "note";
    dialog.append(figure.querySelector("svg").cloneNode(true));
    const tools = make("div", "", dialog);
    tools.className = "tools";
    const close = make("button", "Close", tools, () => dialog.close());
    hide();
    dialog.append(values);  // what is outside of an open dialog lies below it
    dialog.showModal();
    close.focus();
  };
  for (const figure of document.querySelectorAll("figure")) {
    const tools = make("div", "", figure);
    tools.className = "tools";
    make("button", "Enlarge", tools, () => enlarge(figure));
    make("button", "Save SVG", tools, () => saveSvg(figure));
    make("button", "Save PNG", tools, () => savePng(figure));
  }

  // -- curves: the values at the place that is pointed at, or that the arrow keys lead to
  const values = make("div", "", document.body);
  values.id = "values";
  values.hidden = true;
  values.setAttribute("role", "status");
  let shown = null;
  const hide = () => {
    values.hidden = true;
    if (shown) shown.querySelector(".cursor").setAttribute("visibility", "hidden");
    shown = null;
  };
  const MOST = 14;
  const digits = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))));
  const show = (svg, place, left, top) => {
    const data = JSON.parse(svg.dataset.curves);
    const [low, high, start, end] = data.scale;
    const places = [...new Set(data.curves.flatMap((curve) => curve.x))];
    const nearest = places.reduce((a, b) => (Math.abs(b - place) < Math.abs(a - place) ? b : a));
    if (shown && shown !== svg) hide();
    shown = svg;
    svg.dataset.place = nearest;
    const x = start + ((nearest - low) / (high - low)) * (end - start);
    const cursor = svg.querySelector(".cursor");
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    values.textContent = "";
    make("b", `${data.across} = ${digits(nearest)}`, values);
    const here = data.curves.filter((curve) => curve.x.includes(nearest));
    for (const curve of here.slice(0, MOST)) {
      const n = curve.x.indexOf(nearest);
      const line = make("div", "", values);
      make("i", "", line).className = `b${curve.slot}`;
      const spread = curve.low ? ` (${digits(curve.low[n])} to ${digits(curve.high[n])})` : "";
      line.append(`${curve.label}: ${digits(curve.y[n])}${spread}`);
    }
    if (here.length > MOST) make("div", `and ${here.length - MOST} more`, values);
    values.hidden = false;
    const box = values.getBoundingClientRect();
    values.style.left = `${Math.max(4, left + 16 + box.width > innerWidth ? left - box.width - 16 : left + 16)}px`;
    values.style.top = `${Math.max(4, Math.min(top + 12, innerHeight - box.height - 4))}px`;
  };
  const pointed = (event) => {
    const svg = event.target.closest ? event.target.closest("svg[data-curves]") : null;
    if (!svg) { if (shown && event.type === "pointermove") hide(); return; }
    const [low, high, start, end] = JSON.parse(svg.dataset.curves).scale;
    const { x } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    show(svg, low + ((x - start) / (end - start)) * (high - low), event.clientX, event.clientY);
  };
  document.addEventListener("pointermove", pointed);
  document.addEventListener("pointerdown", pointed);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => {
    const svg = event.target.closest ? event.target.closest("svg[data-curves]") : null;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!svg || !step) return;
    event.preventDefault();
    const places = [...new Set(JSON.parse(svg.dataset.curves).curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
    const now = places.indexOf(Number(svg.dataset.place ?? NaN));
    const next = places[now < 0 ? 0 : Math.max(0, Math.min(places.length - 1, now + step))];
    const box = svg.getBoundingClientRect();
    show(svg, next, box.left + box.width / 2, box.top + box.height / 2);
  });

  // -- lines that are copied, and everything open on paper
  for (const line of document.querySelectorAll("pre.line")) {
    if (!navigator.clipboard) break;
    const text = line.textContent;
    const button = make("button", "Copy", line, async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    });
  }
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const each of closed) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of closed) each.open = false; });
})();
