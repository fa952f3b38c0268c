(function () {
  "use strict";
  var tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.appendChild(tip);
  document.querySelectorAll(".plot[data-marks]").forEach(function (plot) {
    var svg = plot.querySelector("svg"), marks, ring, at = -1;
    var line = plot.parentNode.querySelector(".picked");
    if (!svg) { return; }
    function ready() {
      if (marks) { return; }
      marks = JSON.parse(plot.dataset.marks);
      ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      [["r", "3"], ["fill", "none"], ["stroke", "currentColor"], ["stroke-width", "1.2"]].forEach(function (pair) {
        ring.setAttribute(pair[0], pair[1]);
      });
    }
    function words(i) {
      return marks.t ? marks.t[i] : "replicate " + marks.r[i];
    }
    function show(i, x, y) {
      at = i;
      ring.setAttribute("cx", marks.x[i]);
      ring.setAttribute("cy", marks.y[i]);
      svg.appendChild(ring);
      tip.textContent = words(i);
      tip.hidden = false;
      tip.style.left = Math.max(4, Math.min(x + 12, window.innerWidth - tip.offsetWidth - 4)) + "px";
      tip.style.top = Math.max(4, y - tip.offsetHeight - 8) + "px";
    }
    function hide() {
      tip.hidden = true;
      if (ring && ring.parentNode) { ring.parentNode.removeChild(ring); }
    }
    function pick() {
      if (at < 0 || !line) { return; }
      line.textContent = words(at) + (marks.r ? ": " : "");
      if (marks.r) {
        var code = document.createElement("code");
        code.textContent = plot.dataset.replay + " --replicate " + marks.r[at];
        line.appendChild(code);
      }
    }
    plot.addEventListener("pointermove", function (event) {
      ready();
      var box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
      var x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      var best = -1, least = Math.pow(16 * scale, 2);
      for (var i = 0; i < marks.x.length; i += 1) {
        var far = Math.pow(marks.x[i] - x, 2) + Math.pow(marks.y[i] - y, 2);
        if (far < least) { least = far; best = i; }
      }
      if (best < 0) { hide(); at = -1; } else { show(best, event.clientX, event.clientY); }
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("click", pick);
    plot.addEventListener("keydown", function (event) {
      var step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") { hide(); }
      if (event.key === "Enter") { pick(); }
      if (!step) { return; }
      ready();
      if (!marks.x.length) { return; }
      event.preventDefault();
      var box = svg.getBoundingClientRect(), next = (at + step + marks.x.length) % marks.x.length;
      var scale = box.width / svg.viewBox.baseVal.width;
      show(next, box.left + marks.x[next] * scale, box.top + marks.y[next] * scale);
      pick();
    });
  });
  function hints() {
    document.querySelectorAll(".hint").forEach(function (hint) {
      var box = hint.nextElementSibling;
      hint.hidden = !box || box.scrollWidth <= box.clientWidth + 1;
    });
  }
  hints();
  window.addEventListener("resize", hints);
  document.addEventListener("toggle", hints, true);
})();
