/* Draws each chart of a page from the specification inside it, with no network.
 *
 * The page already holds a picture of every chart. Only when a chart has drawn does its picture step aside, so
 * without JavaScript, or with a browser too old for it, the picture stays. Ink is `currentColor`: a chart follows
 * the light/dark switch by itself. Where the column is narrower than the chart, panels are stacked, legends and
 * titles wrapped, and panels shrunk until it fits; its letters keep their size. A chart that cannot be had so, or
 * whose words would then run into each other, is drawn as designed and scrolls sideways in its own box.
 */
(() => {
  "use strict";

  const SMALLEST_PANEL = 90; // pixels; below it a chart scrolls sideways rather than shrink further
  const HAIR = 1.03; // a chart this much too wide is shown that much smaller: no eye sees it
  const SMALLEST_WORD = 9.3; // pixels; still 9 when shown a hair smaller
  const LETTER = 6.6; // pixels of an average letter at the sizes the charts use
  const UNITS = ["layer", "hconcat", "vconcat", "concat"];

  const copy = (value) => JSON.parse(JSON.stringify(value));
  const isNumber = (value) => typeof value === "number";

  /** Calls `visit` on a specification and every specification inside it. */
  function walk(spec, visit) {
    visit(spec);
    for (const key of UNITS) (spec[key] || []).forEach((child) => walk(child, visit));
    if (spec.spec) walk(spec.spec, visit);
  }

  /** Breaks a text into lines of at most `room` pixels; a vega-lite title may be a list of lines. */
  function wrap(text, room) {
    if (typeof text !== "string" || text.length * LETTER <= room) return text;
    const lines = [""];
    for (const word of text.split(" ")) {
      const last = lines.length - 1;
      if (lines[last] && (lines[last].length + word.length + 1) * LETTER > room) lines.push(word);
      else lines[last] = lines[last] ? `${lines[last]} ${word}` : word;
    }
    return lines;
  }

  function wrapTitles(unit, room) {
    if (typeof unit.title === "string") unit.title = wrap(unit.title, room);
    else if (unit.title && unit.title.text) unit.title.text = wrap(unit.title.text, room);
    const x = unit.encoding && unit.encoding.x;
    if (!x) return;
    if (x.axis && x.axis.title) x.axis.title = wrap(x.axis.title, room);
    if (x.title) x.title = wrap(x.title, room);
  }

  /** Makes a panel tall enough for the lines of its longest label in every row. */
  function makeRoom(panel, letters) {
    let names = [];
    walk(panel, (unit) => {
      const y = (unit.encoding && unit.encoding.y) || {};
      const domain = (y.scale && y.scale.domain) || y.sort;
      if ((y.type === "nominal" || y.type === "ordinal") && Array.isArray(domain)) names = domain;
    });
    const lines = names.map((name) => [wrap(String(name), letters * LETTER)].flat().length);
    const step = Math.max(1, ...lines) * 12 + 10;
    if (isNumber(panel.height)) panel.height = Math.max(panel.height, names.length * step);
    else if (panel.height && isNumber(panel.height.step)) panel.height.step = Math.max(panel.height.step, step);
  }

  /** Breaks the labels of a list of names down the side into lines of at most `letters` letters. */
  function wrapLabels(spec, letters) {
    const wrapped = copy(spec);
    walk(wrapped, (unit) => {
      makeRoom(unit, letters);
      if (unit.mark && unit.mark.type === "text") unit.mark.fontSize = Math.min(unit.mark.fontSize || 12, SMALLEST_WORD);
      const y = unit.encoding && unit.encoding.y;
      if (!y || (y.type !== "nominal" && y.type !== "ordinal") || y.axis === null) return;
      const label = (y.axis && y.axis.labelExpr) || "datum.label";
      const lines = `replace(replace(${label}, /(.{1,${letters}})(\\s+|$)/g, '$1|'), /[|]$/, '')`;
      y.axis = { ...y.axis, labelExpr: `split(${lines}, '|')`, labelLimit: 0, labelFontSize: 11 };
    });
    return wrapped;
  }

  /** Panels side by side may share the labels of the first; under one another each needs its own. */
  function labelEach(panels) {
    let names;
    const titles = {};
    panels.forEach((panel) =>
      walk(panel, (unit) => {
        const y = unit.encoding && unit.encoding.y;
        if (!y || !y.field) return;
        if (y.type === "quantitative") {
          if (y.axis && y.axis.labels === false) y.axis.labels = true;
          if (y.title) titles[y.field] = y.title;
          else if (y.title === null && titles[y.field]) y.title = titles[y.field];
        } else if (y.axis && y.axis.labels !== false) names = names || y.axis;
        else if (names) y.axis = { ...names };
      }),
    );
  }

  /** How many of a chart's panels might stand beside each other in a narrow column. */
  function mostBeside(spec, room) {
    let widest = 0;
    walk(spec, (unit) => {
      (unit.hconcat || []).forEach((panel) => (widest = Math.max(widest, isNumber(panel.width) ? panel.width : room)));
    });
    return Math.max(1, Math.min(3, Math.floor(room / (widest + 10))));
  }

  /** Moves every legend under its panel, in as many columns as fit. */
  function wrapLegends(unit, room) {
    for (const channel of Object.values(unit.encoding || {})) {
      if (channel && channel.legend) {
        const { columns, legendX, legendY, offset, ...rest } = channel.legend;
        channel.legend = { ...rest, orient: rest.orient === "none" ? "none" : "bottom" };
      }
    }
    const labels = longestDomain(unit);
    return Math.max(1, Math.floor(room / (labels * LETTER + 40)));
  }

  function longestDomain(unit) {
    let longest = 0;
    for (const channel of Object.values(unit.encoding || {})) {
      const domain = channel && channel.scale && channel.scale.domain;
      if (Array.isArray(domain)) domain.forEach((entry) => (longest = Math.max(longest, String(entry).length)));
    }
    return longest || 14;
  }

  /** Sets a panel's width and moves what is placed in pixels across it. */
  function setWidth(unit, width) {
    const ratio = width / unit.width;
    unit.width = width;
    walk(unit, (inner) => {
      for (const channel of ["x", "x2"]) {
        const place = inner.encoding && inner.encoding[channel];
        if (place && isNumber(place.value)) place.value *= ratio;
        if (inner.mark && isNumber(inner.mark[channel])) inner.mark[channel] *= ratio;
      }
    });
  }

  /** The same chart for a narrow column: panels under one another, at most so many to a row. */
  function stack(spec, room, most) {
    const narrow = copy(spec);
    let columns = 4;
    walk(narrow, (unit) => {
      if (unit.hconcat) {
        labelEach(unit.hconcat);
        unit.concat = unit.hconcat;
        unit.columns = most;
        delete unit.hconcat;
      } else if (unit.concat || unit.facet) unit.columns = 1;
      if (unit.encoding && unit.encoding.facet) unit.encoding.facet.columns = 1;
      if (unit.encoding && unit.encoding.column && !unit.encoding.row) {
        unit.encoding.facet = { ...unit.encoding.column, columns: 1 };
        delete unit.encoding.column;
      }
      if (isNumber(unit.width)) setWidth(unit, Math.max(SMALLEST_PANEL, Math.min(unit.width, room - 70)));
      wrapTitles(unit, room - 60);
      columns = Math.min(columns, wrapLegends(unit, room));
    });
    const legend = (narrow.config && narrow.config.legend) || {};
    narrow.config = {
      ...narrow.config,
      legend: { ...legend, columns, labelLimit: room - 60, titleLimit: room - 20, gradientLength: room - 80 },
    };
    return narrow;
  }

  function shrink(spec, over) {
    const smaller = copy(spec);
    walk(smaller, (unit) => {
      if (isNumber(unit.width)) setWidth(unit, Math.max(SMALLEST_PANEL, Math.floor(unit.width - over)));
    });
    return smaller;
  }

  /** A panel without a width of its own takes the theme's: make it explicit, so that it can shrink. */
  function withWidths(spec) {
    const explicit = copy(spec);
    const usual = (explicit.config && explicit.config.view && explicit.config.view.continuousWidth) || 300;
    walk(explicit, (unit) => {
      const whole = unit.mark || unit.layer;
      const x = unit.encoding && unit.encoding.x;
      const discrete = x && (x.type === "nominal" || x.type === "ordinal");
      if (whole && unit.width === undefined && !discrete && !unit.insideLayer) unit.width = usual;
      (unit.layer || []).forEach((child) => Object.defineProperty(child, "insideLayer", { value: true }));
    });
    return explicit;
  }

  /** Counts the pairs of words of a drawn chart that overlap by more than a hair. */
  function collisions(svg) {
    const words = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
    const boxes = words.map((text) => text.getBoundingClientRect());
    let count = 0;
    boxes.forEach((a, i) => {
      for (const b of boxes.slice(i + 1)) {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 3 && down > 3) count++;
      }
    });
    return count;
  }

  class Chart {
    constructor(box) {
      this.box = box;
      this.spec = withWidths(JSON.parse(box.querySelector("script.gw-spec").textContent));
      this.meta = this.spec.usermeta || {};
      this.stage = document.createElement("div");
      this.stage.className = "gw-stage";
      this.stage.tabIndex = 0;
      this.stage.setAttribute("role", "group");
      this.stage.setAttribute("aria-label", this.meta.alt || "Chart");
      box.prepend(this.stage);
      this.room = 0;
      this.redraws = Promise.resolve();
    }

    options() {
      return {
        mode: "vega-lite",
        renderer: "svg",
        actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
        i18n: { CLICK_TO_VIEW_ACTIONS: "Save this chart" },
        downloadFileName: this.meta.name || "chart",
        tooltip: { theme: "book" },
        scaleFactor: 2,
      };
    }

    async embed(spec) {
      if (this.view) this.view.finalize();
      this.view = await window.vegaEmbed(this.stage, spec, this.options());
      this.svg = this.stage.querySelector("svg.marks");
      return Number(this.svg.getAttribute("width")); // as drawn, whatever the page makes of it
    }

    /** Draws as designed if the column is wide enough; else for a narrow one; else to be scrolled. */
    async draw() {
      const room = Math.floor(this.box.clientWidth);
      if (!room || room === this.room) return;
      this.room = room;
      let width = await this.embed(this.spec);
      const narrow = width > room;
      if (narrow && !(await this.squeeze(room, collisions(this.svg)))) width = await this.embed(this.spec);
      else width = Math.min(width, room);
      this.box.classList.toggle("gw-narrow", narrow);
      this.box.classList.toggle("gw-wide", width > room);
      this.label();
      this.box.classList.add("gw-drawn");
      document.dispatchEvent(new Event("geowall:drawn"));
    }

    /** Draws for a column of `room` pixels; says whether that fits, with no more than `usual` collisions. */
    async squeeze(room, usual) {
      const fits = () => width <= room * HAIR && collisions(this.svg) <= usual;
      let spec;
      let width;
      for (let most = mostBeside(this.spec, room); most >= 1; most--) {
        spec = stack(this.spec, room, most);
        width = await this.embed(spec);
        if (fits()) return true;
      }
      if (width > room * HAIR) {
        spec = wrapLabels(spec, Math.floor((room * 0.42) / LETTER));
        width = await this.embed(spec);
      }
      for (let tries = 0; width > room * HAIR && tries < 4; tries++) {
        spec = shrink(spec, width - room + 1);
        width = await this.embed(spec);
      }
      return fits();
    }

    label() {
      this.stage.querySelectorAll("form.vega-bindings input, form.vega-bindings select").forEach((input) => {
        const name = input.closest(".vega-bind").querySelector(".vega-bind-name");
        if (name) input.setAttribute("aria-label", name.textContent.trim());
      });
    }

    /** One drawing at a time; a failure leaves the picture in place and says so in the console. */
    redraw() {
      this.redraws = this.redraws
        .then(() => this.draw())
        .catch((error) => {
          this.stage.remove();
          this.box.classList.remove("gw-drawn");
          console.error(`the chart ${this.meta.name} was not drawn:`, error);
        });
      return this.redraws;
    }
  }

  async function start() {
    const charts = [...document.querySelectorAll(".gw-chart")].map((box) => new Chart(box));
    if (!window.vegaEmbed) return;
    for (const chart of charts) await chart.redraw(); // top of the page first
    let waiting;
    new ResizeObserver(() => {
      clearTimeout(waiting);
      waiting = setTimeout(() => charts.forEach((chart) => chart.redraw()), 150);
    }).observe(document.querySelector("article") || document.body);
    document.documentElement.dataset.charts = "drawn";
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
