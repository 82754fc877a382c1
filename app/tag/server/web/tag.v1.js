/* PA Tag loader v1. Put <div data-pa-placement="ID"></div> where an ad belongs and load this script async.
   Optional on the div: data-pa-kv="key:value,key:value", data-pa-uid and data-pa-consent="1" (both, or no user is known). */
(function () {
  "use strict";
  var script = document.currentScript;
  var origin = script && script.src ? new URL(script.src).origin : location.origin;

  function send(url) {
    // keepalive outlives the page; an image is the way for browsers that lack it.
    if (window.fetch) {
      fetch(url, { method: "POST", mode: "no-cors", keepalive: true, credentials: "omit" }).catch(function () { new Image().src = url; });
    } else {
      new Image().src = url;
    }
  }

  function query(el) {
    var q = "placement=" + encodeURIComponent(el.getAttribute("data-pa-placement"));
    (el.getAttribute("data-pa-kv") || "").split(",").forEach(function (pair) {
      var i = pair.indexOf(":");
      if (i > 0) q += "&kv." + encodeURIComponent(pair.slice(0, i).trim()) + "=" + encodeURIComponent(pair.slice(i + 1).trim());
    });
    if (el.getAttribute("data-pa-consent") === "1" && el.getAttribute("data-pa-uid")) {
      q += "&consent=1&uid=" + encodeURIComponent(el.getAttribute("data-pa-uid"));
    }
    return q;
  }

  // Half of the ad's pixels (30 % of large ones) in a visible tab for a second on end: the MRC's viewable impression.
  function watch(frame, area, url) {
    if (!window.IntersectionObserver) return;
    var need = area > 242500 ? 0.3 : 0.5, timer = 0, seen = false;
    function judge() {
      var ok = seen && document.visibilityState === "visible";
      if (ok && !timer) {
        timer = setTimeout(function () { io.disconnect(); document.removeEventListener("visibilitychange", judge); send(url); }, 1000);
      } else if (!ok && timer) {
        clearTimeout(timer); timer = 0;
      }
    }
    var io = new IntersectionObserver(function (es) { seen = es[es.length - 1].intersectionRatio >= need; judge(); }, { threshold: [0, 0.3, 0.5, 1] });
    io.observe(frame);
    document.addEventListener("visibilitychange", judge);
  }

  function tell(el, name, detail) {
    el.setAttribute("data-pa-state", name);
    el.dispatchEvent(new CustomEvent("pa:" + name, { bubbles: true, detail: detail }));
  }

  function render(el, ad) {
    if (!ad.fill) { tell(el, "empty", ad); return; }
    var native = ad.creative.format === "native";
    var f = document.createElement("iframe");
    // No allow-same-origin: the creative cannot reach the page, its cookies or its storage.
    f.setAttribute("sandbox", "allow-scripts allow-popups allow-popups-to-escape-sandbox");
    f.setAttribute("referrerpolicy", "strict-origin-when-cross-origin");
    f.setAttribute("scrolling", "no");
    f.title = "Advertisement";
    f.style.border = "0";
    f.style.display = "block";
    f.style.width = native ? "100%" : ad.creative.width + "px";
    f.style.maxWidth = "100%";
    f.style.height = (native ? 112 : ad.creative.height) + "px";
    var done = false;
    f.addEventListener("load", function () {
      if (done) return;
      done = true;
      send(ad.urls.impression);
      var r = f.getBoundingClientRect();
      watch(f, r.width * r.height, ad.urls.viewable);
      tell(el, "rendered", ad);
    });
    f.srcdoc = ad.markup;
    el.textContent = "";
    el.appendChild(f);
  }

  function load(el) {
    fetch(origin + "/v1/ad?" + query(el), { credentials: "omit" })
      .then(function (r) { if (!r.ok) throw new Error("HTTP " + r.status); return r.json(); })
      .then(function (a) { render(el, a.fill ? Object.assign({ fill: true }, a.chain[a.chain.length - 1]) : a); })
      .catch(function (e) { tell(el, "error", { error: String(e) }); });
  }

  function start() {
    var els = document.querySelectorAll("[data-pa-placement]:not([data-pa-state])");
    var io = window.IntersectionObserver && new IntersectionObserver(function (es) {
      es.forEach(function (e) { if (e.isIntersecting) { io.unobserve(e.target); load(e.target); } });
    }, { rootMargin: "300px" });
    Array.prototype.forEach.call(els, function (el) {
      el.setAttribute("data-pa-state", "waiting");
      // What is near already is loaded now: an observer would tell only after the next frame.
      var r = el.getBoundingClientRect();
      if (!io || (r.top < innerHeight + 300 && r.bottom > -300)) load(el); else io.observe(el);
    });
  }

  window.paTag = { refresh: start };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
