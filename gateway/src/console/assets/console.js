// The console's script: local times, parts that refresh, the live list, replaying. Without it every page still works.
'use strict';

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Times: in the reader's zone; the title keeps UTC.
const localTime = new Intl.DateTimeFormat(undefined, { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

function localise(root) {
  for (const time of all('time[datetime]:not([data-local])', root)) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.textContent = localTime.format(at);
    time.dataset.local = '';
  }
}

function inWords(ms) {
  const s = Math.round(Math.abs(ms) / 1000);
  const text = s < 60 ? `${s} s` : s < 3600 ? `${Math.round(s / 60)} min` : s < 86400 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
  return ms < 0 ? `${text} ago` : `in ${text}`;
}

function tick(root = document) {
  for (const span of all('[data-unix-ms]', root)) {
    const time = $('time', span);
    if (time) span.title = time.title;
    span.textContent = inWords(Number(span.dataset.unixMs) - Date.now());
  }
}

// Parts of a page that change: fetched again and put in place, unless somebody is in them.
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
    if (answer.redirected || answer.status !== 200) return location.reload();
    const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const part of all('[data-live]')) {
      const fresh = part.id && next.getElementById(part.id);
      if (!fresh || part.contains(document.activeElement) || fresh.innerHTML === part.dataset.was) continue;
      const was = fresh.innerHTML;
      localise(fresh);
      tick(fresh);
      part.replaceChildren(...fresh.childNodes);
      part.hidden = fresh.hidden;
      part.dataset.was = was;
    }
  } catch { /* The gateway is away; the next round asks again. */ }
}

// Somebody else may settle what is looked at; the list tells without its payload, so that no look is written down.
async function watch(id) {
  if (document.hidden) return;
  try {
    const answer = await fetch(`/api/v1/approvals?status=pending&limit=1000`);
    if (answer.status !== 200) return;
    const { approvals, next } = await answer.json();
    const reason = $('#reason');
    if (!next && !approvals.some((own) => own.id === id) && !reason?.value) location.reload();
  } catch { /* The gateway is away; the next round asks again. */ }
}

// The live list: rows as the server would have made them.
function row(found) {
  const cell = (...parts) => {
    const td = document.createElement('td');
    td.append(...parts.filter((part) => part !== null));
    return td;
  };
  const element = (name, className, text) => Object.assign(document.createElement(name), { className, textContent: text });
  const tones = { good: ['allow', 'approved'], bad: ['deny', 'denied', 'reject', 'refused', 'aborted'], warn: ['pending', 'asked', 'expired'] };
  const badge = (word) => element('span', `badge ${Object.keys(tones).find((tone) => tones[tone].includes(word)) ?? 'calm'}`, word.replaceAll('_', ' '));
  const time = Object.assign(document.createElement('time'), { dateTime: found.time, title: found.time, textContent: found.time });
  const tone = found.status >= 500 || (found.status >= 400 && found.status !== 409 && found.status !== 429) ? 'bad' : found.status >= 400 ? 'warn' : 'good';
  const link = Object.assign(element('a', '', ''), { href: `/exchanges/${encodeURIComponent(found.id)}` });
  link.append(element('code', '', `${found.id.slice(0, 14)}…`));
  const rules = cell(...found.rules.map((name) => element('span', 'rule', name)));
  rules.className = 'rules';
  const line = document.createElement('tr');
  line.className = 'fresh';
  line.append(cell(time), cell(found.subject), cell(found.model ? element('code', '', found.model) : null), cell(found.operation || found.kind),
    cell(badge(found.decision)), cell(found.status ? element('span', `badge ${tone}`, String(found.status)) : element('span', 'dim', '–')), rules,
    cell(found.mask_count ? element('span', 'badge mask', `${found.mask_count} × ${found.masks.join(', ')}`) : null), cell(link));
  localise(line);
  return line;
}

function follow(button) {
  const state = $('#live-state'), rows = $('#rows');
  let source = null, seen = 0;
  button.hidden = false;
  const stop = (words) => {
    source?.close();
    source = null;
    button.setAttribute('aria-pressed', 'false');
    button.textContent = 'Follow live';
    state.textContent = words;
  };
  button.addEventListener('click', () => {
    if (source) return stop('');
    source = new EventSource(`/api/v1/exchanges/live?q=${encodeURIComponent(button.dataset.q)}`);
    button.setAttribute('aria-pressed', 'true');
    button.textContent = 'Following';
    state.textContent = 'New calls appear on top as they end.';
    source.addEventListener('message', (event) => {
      const found = JSON.parse(event.data);
      if (button.dataset.all !== 'true' && !['call', 'refusal'].includes(found.kind)) return;
      $('#results').hidden = false;
      all('.empty').forEach((empty) => empty.remove());
      rows.prepend(row(found));
      while (rows.children.length > 200) rows.lastElementChild.remove();
      state.textContent = `${++seen} new`;
    });
    source.addEventListener('error', () => { if (source?.readyState === EventSource.CLOSED) stop('Not possible: text: cannot be followed, or too many follow already.'); });
  });
}

// Replaying an answer at the speed at which it came. What was recorded is masked, and was escaped by the server.
function replay(box) {
  const pieces = JSON.parse($('script[type="application/json"]', box).textContent);
  const [said, controls, play, speed, progress, clock] = ['[data-said]', '.controls', '[data-play]', '[data-speed]', '[data-progress]', '[data-clock]'].map((name) => $(name, box));
  const end = pieces.length ? pieces[pieces.length - 1][0] : 0;
  let running = 0;
  controls.hidden = false;
  const seconds = (us) => `${(us / 1e6).toFixed(2)} s`;
  const stop = () => {
    running += 1;
    said.innerHTML = pieces.map((piece) => piece[1]).join('');
    progress.value = 1;
    clock.textContent = seconds(end);
    play.textContent = 'Replay';
  };
  clock.textContent = seconds(end);
  play.addEventListener('click', () => {
    if (play.textContent === 'Stop') return stop();
    const own = ++running, factor = Number(speed.value);
    let from = performance.now(), at = 0, shown = 0;
    said.innerHTML = '';
    play.textContent = 'Stop';
    const step = (now) => {
      if (own !== running) return;
      at += (now - from) * 1000 * Number(speed.value || factor);
      from = now;
      let more = '';
      while (shown < pieces.length && pieces[shown][0] <= at) more += pieces[shown++][1];
      if (more) said.insertAdjacentHTML('beforeend', more);
      progress.value = end ? Math.min(at / end, 1) : 1;
      clock.textContent = seconds(Math.min(at, end));
      if (shown < pieces.length) requestAnimationFrame(step);
      else stop();
    };
    requestAnimationFrame(step);
  });
}

document.addEventListener('DOMContentLoaded', () => {
  localise(document);
  tick();
  setInterval(tick, 1000);
  const every = $('[data-refresh]');
  if (every) setInterval(refresh, Number(every.dataset.refresh) * 1000);
  const watched = $('[data-watch]');
  if (watched) setInterval(() => watch(watched.dataset.watch), 3000);
  const live = $('#live');
  if (live) follow(live);
  all('[data-replay]').forEach(replay);
  // One decision for one click.
  for (const form of all('form[data-once]')) {
    form.addEventListener('submit', () => setTimeout(() => all('button', form).forEach((button) => (button.disabled = true)), 0));
  }
  // `/` leads to the search.
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest('input, textarea, select');
    if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = $('[data-slash]');
    if (search) { event.preventDefault(); search.focus(); search.select(); }
    else location.href = '/exchanges';
  });
});
