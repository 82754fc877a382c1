/* PA Tag loader v1. How to use it: docs/loader.md. */
(function () {
  "use strict";
  if (window.paTag && window.paTag.v) return;
  var doc = document, win = window;
  var script = doc.currentScript;
  var origin = script && script.src ? new URL(script.src).origin : location.origin;
  var frameURL = origin + "FRAME_PATH";
  var SIGNALS_MS = 500, RENDER_MS = 8000, MARGIN = 300, MAX_BATCH = 32;
  var frames = [], observers = {}, queue = [], flushing = 0, pageView = newView();

  // Nothing of ours may break the page: whatever is thrown ends here.
  function safe(fn) {
    return function () { try { return fn.apply(this, arguments); } catch (e) { if (win.console) console.warn("PA Tag:", e); } };
  }

  function newView() {
    try {
      return Array.from(crypto.getRandomValues(new Uint32Array(2)), function (n) { return n.toString(16).padStart(8, "0"); }).join("");
    } catch (e) { return Math.random().toString(16).slice(2); }
  }

  // keepalive outlives the page.
  function send(url) {
    if (url) fetch(url, { method: "POST", mode: "no-cors", keepalive: true, credentials: "omit" }).catch(function () {});
  }

  function tell(el, name, detail) {
    el.setAttribute("data-pa-state", name);
    el.dispatchEvent(new CustomEvent("pa:" + name, { bubbles: true, detail: detail || {} }));
  }

  function attr(el, name) { return (el && el.getAttribute && el.getAttribute("data-pa-" + name)) || ""; }

  function list(text) { return text.split(",").map(function (s) { return s.trim(); }).filter(Boolean); }

  function keyValues(el) {
    var kv = {};
    list(attr(el, "kv")).forEach(function (pair) {
      var i = pair.indexOf(":");
      if (i > 0) (kv[pair.slice(0, i).trim()] = kv[pair.slice(0, i).trim()] || []).push(pair.slice(i + 1).trim());
    });
    return kv;
  }

  // ---- privacy: what the page's consent tools say, within half a second; then the ad is asked for without.
  function optedOut() {
    try { return /(?:^|; )pa_optout=1/.test(doc.cookie); } catch (e) { return false; }
  }

  function signals(done) {
    var s = {}, open = 0, over = false, timer;
    function finish() { if (!over) { over = true; clearTimeout(timer); done(s); } }
    function ask(name, fn) {
      if (typeof win[name] !== "function") return;
      var answered = false;
      open++;
      try { fn(win[name], function () { if (!answered) { answered = true; if (!--open) finish(); } }); } catch (e) { open--; }
    }
    timer = setTimeout(finish, SIGNALS_MS);
    open++;
    ask("__tcfapi", function (api, ok) {
      api("addEventListener", 2, function (d, success) {
        if (!success || !d) return ok();
        if (typeof d.gdprApplies === "boolean") s.gdpr = d.gdprApplies;
        if (d.gdprApplies !== false && d.eventStatus === "cmpuishown") return;
        s.gdprConsent = d.tcString || "";
        if (d.listenerId) api("removeEventListener", 2, function () {}, d.listenerId);
        ok();
      });
    });
    ask("__gpp", function (api, ok) {
      function take(p) {
        if (!p || p.signalStatus !== "ready") return;
        s.gpp = p.gppString || "";
        s.gppSid = (p.applicableSections || []).filter(function (n) { return n > 0; });
        ok();
      }
      api("ping", take);
      api("addEventListener", function (e) { take(e && e.pingData); });
    });
    ask("__uspapi", function (api, ok) {
      api("getUSPData", 1, function (d, success) { if (success && d) s.usPrivacy = d.uspString || ""; ok(); });
    });
    if (!--open) finish();
  }

  // ---- asking
  function body(els, s) {
    var c = Object.assign({}, s);
    if (optedOut()) c.optOut = true;
    if (c.gdpr === undefined && attr(script, "gdpr")) c.gdpr = attr(script, "gdpr") !== "0";
    els.concat(script || []).some(function (el) {
      if (!attr(el, "uid")) return false;
      c.userId = attr(el, "uid");
      c.given = attr(el, "consent") === "1";
      return true;
    });
    return {
      page: { url: location.href.slice(0, 2048), view: pageView, categories: list(attr(script, "cat")), keywords: list(attr(script, "kw")), keyValues: keyValues(script) },
      consent: c,
      placements: els.map(function (el) { return { id: attr(el, "placement"), keyValues: keyValues(el) }; })
    };
  }

  function query(b) {
    var c = b.consent, q = new URLSearchParams({ placement: b.placements[0].id, page: b.page.url, pv: b.page.view });
    function add(k, v) { if (v) q.append(k, v); }
    [b.page.keyValues, b.placements[0].keyValues].forEach(function (kv) {
      Object.keys(kv).forEach(function (k) { kv[k].forEach(function (v) { q.append("kv." + k, v); }); });
    });
    add("cat", b.page.categories.join());
    add("kw", b.page.keywords.join());
    add("uid", c.userId);
    add("consent", c.given && "1");
    add("gdpr", c.gdpr === undefined ? "" : String(+c.gdpr));
    add("gdpr_consent", c.gdprConsent);
    add("gpp", c.gpp);
    add("gpp_sid", (c.gppSid || []).join());
    add("us_privacy", c.usPrivacy);
    add("optout", c.optOut && "1");
    return "/v1/ad?" + q;
  }

  function ask(els, s) {
    var b = body(els, s), url = "/v1/ads", init = { credentials: "omit" };
    if (els.length === 1 && query(b).length < 2000) url = query(b);
    else { init.method = "POST"; init.headers = { "Content-Type": "text/plain" }; init.body = JSON.stringify(b); }
    fetch(origin + url, init)
      .then(function (r) { if (!r.ok) throw new Error("the ad server answered " + r.status); return r.json(); })
      .then(function (a) { (a.ads || [a]).forEach(function (ad, i) { safe(walk)(els[i], ad, 0, els[i].paRun); }); })
      .catch(function (e) { els.forEach(function (el) { tell(el, "error", { error: String(e && e.message || e) }); }); });
  }

  function enqueue(el) {
    queue.push(el);
    if (!flushing) flushing = setTimeout(safe(function () {
      signals(safe(function (s) {
        flushing = 0;
        for (var all = queue.splice(0); all.length;) ask(all.splice(0, MAX_BATCH), s);
      }));
    }), 0);
  }

  // ---- the chain: entries are tried in their order until one fills
  function walk(el, ad, i, run) {
    var entry = ad.fill && ad.chain && ad.chain[i];
    if (run !== el.paRun) return;
    if (!entry) return tell(el, i ? "empty" : ad.reason === "unknown_placement" ? "error" : "empty", { reason: ad.reason || "passed_back", placement: ad.placement });
    show(el, entry, safe(function (passed) {
      if (passed) tell(el, "passback", { source: entry.demandSource, reason: passed });
      walk(el, ad, i + 1, run);
    }));
  }

  function show(el, entry, next) {
    var tag = entry.source === "tag", native = entry.creative.format === "native";
    var f = doc.createElement("iframe"), over = false, loaded = false, timer;
    // No allow-same-origin: what is in the frame reaches neither the page nor its cookies or storage.
    f.setAttribute("sandbox", "allow-scripts allow-popups allow-popups-to-escape-sandbox");
    f.setAttribute("referrerpolicy", "strict-origin-when-cross-origin");
    f.setAttribute("scrolling", "no");
    f.title = attr(el, "label") || "Advertisement";
    f.style.cssText = "border:0;display:block;max-width:100%";
    f.style.width = native ? "100%" : entry.creative.width + "px";
    f.style.height = (native ? 112 : entry.creative.height) + "px";
    function fill() {
      if (over) return;
      over = true;
      clearTimeout(timer);
      send(entry.urls.impression);
      watch(el, f, entry);
      tell(el, "rendered", entry);
    }
    function fail(reason) {
      if (over) return;
      over = true;
      clearTimeout(timer);
      drop(f);
      send(tag ? entry.urls.passback : entry.urls.error);
      next(tag && reason);
    }
    frames.push({ f: f, say: function (m) {
      if (m.pa === "loaded") {
        loaded = true;
        if (native && m.height > 0) f.style.height = Math.min(m.height, 600) + "px";
        if (!tag) fill();
      } else if (tag && m.pa === "filled") fill();
      else if (tag && m.pa === "passback") fail("passback");
      else if (tag && m.pa === "content") { if (m.any) fill(); else fail("nothing_shown"); }
      else if (m.pa === "expand" || m.pa === "collapse") post(f, { pa: "refused", what: m.pa });
    } });
    timer = setTimeout(safe(function () {
      if (!tag || !loaded) return fail("timeout");
      // It has loaded and not passed back: it filled if anything can be seen in it.
      post(f, { pa: "content?" });
      timer = setTimeout(safe(function () { fail("timeout"); }), 200);
    }), tag ? entry.timeoutMs || 2000 : RENDER_MS);
    if (tag) send(entry.urls.attempt);
    // The markup travels in the frame's name: the frame is the ad server's, so the page's Content-Security-Policy is not the ad's.
    f.name = entry.markup;
    f.src = frameURL;
    clear(el);
    el.appendChild(f);
  }

  function post(f, m) { if (f.contentWindow) f.contentWindow.postMessage(m, "*"); }

  function drop(f) {
    frames = frames.filter(function (x) { if (x.f === f && x.stop) x.stop(); return x.f !== f; });
    if (f.parentNode) f.parentNode.removeChild(f);
  }

  function clear(el) {
    frames.slice().forEach(function (x) { if (el.contains(x.f) || !x.f.isConnected && x.stop) drop(x.f); });
    el.textContent = "";
  }

  // Half of the ad's pixels (30 % of large ones) in a visible tab for a second on end: the MRC's viewable impression. The frame hears
  // how much of it is in view.
  function watch(el, f, entry) {
    var r = f.getBoundingClientRect(), need = r.width * r.height >= 242500 ? 0.3 : 0.5, timer = 0, seen = 0, counted = false;
    var judge = safe(function () {
      var ok = seen >= need && doc.visibilityState === "visible";
      post(f, { pa: "geom", ratio: seen, visible: doc.visibilityState === "visible", width: f.clientWidth, height: f.clientHeight });
      if (ok && !timer && !counted) {
        timer = setTimeout(safe(function () { counted = true; send(entry.urls.viewable); tell(el, "viewable", entry); }), 1000);
      } else if (!ok && timer) { clearTimeout(timer); timer = 0; }
    });
    if (!win.IntersectionObserver) return;
    var io = new IntersectionObserver(function (es) { seen = es[es.length - 1].intersectionRatio; judge(); }, { threshold: [0, 0.25, 0.3, 0.5, 0.75, 1] });
    io.observe(f);
    doc.addEventListener("visibilitychange", judge);
    frames.forEach(function (x) {
      if (x.f === f) x.stop = function () { io.disconnect(); clearTimeout(timer); doc.removeEventListener("visibilitychange", judge); };
    });
  }

  // Only the frame of an entry is heard for it.
  win.addEventListener("message", safe(function (e) {
    if (!e.data || typeof e.data.pa !== "string") return;
    frames.slice().forEach(function (x) { if (x.f.contentWindow && x.f.contentWindow === e.source) x.say(e.data); });
  }));

  // ---- placements
  function start(el) {
    el.paRun = (el.paRun || 0) + 1;
    el.setAttribute("data-pa-state", "loading");
    enqueue(el);
  }

  var scan = safe(function () {
    Array.prototype.forEach.call(doc.querySelectorAll("[data-pa-placement]:not([data-pa-state])"), function (el) {
      var lazy = attr(el, "lazy"), margin = lazy === "off" ? Infinity : parseInt(lazy, 10) || MARGIN, r = el.getBoundingClientRect();
      // What is near already is loaded now: an observer would tell only after the next frame.
      if (!win.IntersectionObserver || r.top < innerHeight + margin && r.bottom > -margin) return start(el);
      el.setAttribute("data-pa-state", "waiting");
      var io = observers[margin] = observers[margin] || new IntersectionObserver(safe(function (es) {
        es.forEach(function (e) { if (e.isIntersecting) { io.unobserve(e.target); start(e.target); } });
      }), { rootMargin: margin + "px" });
      io.observe(el);
    });
  });

  win.paTag = {
    v: 1,
    // scan picks up placements that were added to the page.
    scan: scan,
    // refresh asks anew for an element, an element's id, or all that have been filled or not.
    refresh: safe(function (what) {
      var els = typeof what === "string" ? [doc.getElementById(what)] : what ? [what] : doc.querySelectorAll("[data-pa-state]:not([data-pa-state=waiting])");
      Array.prototype.forEach.call(els, function (el) { if (el) { clear(el); start(el); } });
    }),
    // newPage begins a page view, for pages that change without loading.
    newPage: function () { pageView = newView(); },
    // optOut remembers on this site that the visitor wants no personal ads; optOut(false) forgets it.
    optOut: safe(function (yes) { doc.cookie = "pa_optout=1; path=/; SameSite=Lax; max-age=" + (yes === false ? 0 : 31536000); })
  };
  if (doc.readyState === "loading") doc.addEventListener("DOMContentLoaded", scan); else scan();
})();
