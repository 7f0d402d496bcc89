import { applyEntry, emptyView } from '/view.js';

const post = async (path, body = {}) => {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
  if (response.ok) return response.json();
  // What is no JSON comes from something in front of the server.
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error ?? `The server answered ${response.status}. Please try again.`);
};
const problem = document.querySelector('#problem');
/** Does it, and says so when it cannot be done. */
const trying = async (action) => {
  problem.textContent = '';
  await action().catch((error) => {
    problem.textContent = error.message;
  });
};
const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// What was said is kept in this tab: a reload shows all of it again, and goes on with what is still running.
const state = restored();
const keep = () => sessionStorage.setItem('chat', JSON.stringify(state));

function restored() {
  try {
    const { conversation, turns } = JSON.parse(sessionStorage.getItem('chat') ?? '{}');
    return { conversation, turns: Array.isArray(turns) ? turns : [] };
  } catch {
    return { turns: [] };
  }
}

function show({ id, text }) {
  const reply = make('div');
  document.querySelector('#turns').append(make('article', {}, make('h2', { textContent: text }), reply));
  const source = new EventSource(`/turns/${id}/events`);
  let view = emptyView;
  source.onmessage = ({ data }) => {
    view = applyEntry(view, JSON.parse(data));
    reply.replaceChildren(...view.parts.map(partOf), ...asks(id, view), stateOf(id, view));
    if (view.end) source.close();
  };
}

function partOf(part) {
  if (part.type === 'text') return make('p', { textContent: part.text });
  if (part.type === 'reasoning') return make('p', { className: 'tool', textContent: part.text });
  return make('p', { className: 'tool', textContent: `${part.tool} ${part.title ?? ''} · ${part.status}` });
}

const asks = (id, { requests }) =>
  requests.filter(({ state }) => state === 'open').map((request) => askOf(id, request));

function askOf(id, { requestId, kind, details }) {
  const choice = (label, answer) =>
    make('button', {
      textContent: label,
      onclick: () => trying(() => post(`/turns/${id}/requests/${requestId}`, answer)),
    });
  if (kind === 'permission') {
    // Not "always": the server would remember it for every conversation that shares the directory.
    const replies = ['once', 'reject'];
    const buttons = replies.map((reply) => choice(reply, { kind: 'permission', reply }));
    return make(
      'div',
      { className: 'ask' },
      `May it use ${details.permission}: ${(details.patterns ?? []).join(', ')}? `,
      ...buttons,
    );
  }
  const { question = 'It asks something', options = [] } = details.questions?.[0] ?? {};
  const buttons = options.map(({ label }) => choice(label, { kind: 'question', answers: [[label]] }));
  return make(
    'div',
    { className: 'ask' },
    `${question} `,
    ...buttons,
    choice('No answer', { kind: 'reject' }),
  );
}

function stateOf(id, { progress, status, usage, end }) {
  const told = end?.error?.message ?? end?.notice?.message;
  const cost = usage ? ` · $${usage.cost.toFixed(4)}` : '';
  const text = end ? `${status}${cost}${told ? ` · ${told}` : ''}` : progress.replaceAll('_', ' ');
  const cancel = make('button', {
    textContent: 'Cancel',
    onclick: () => trying(() => post(`/turns/${id}/cancel`)),
  });
  return make('footer', {}, `${text} `, ...(end ? [] : [cancel]));
}

async function say(form) {
  const text = form.elements.text.value;
  // Kept until the server has answered: a message that is sent again because nobody did is still one turn.
  form.dataset.key ??= crypto.randomUUID();
  state.conversation ??= (await post('/conversations')).id;
  const path = `/conversations/${state.conversation}/turns`;
  const { id } = await post(path, { text, idempotencyKey: form.dataset.key });
  delete form.dataset.key;
  form.reset();
  state.turns.push({ id, text });
  keep();
  show({ id, text });
}

document.querySelector('#say').onsubmit = (event) => {
  event.preventDefault();
  void trying(() => say(event.target));
};
state.turns.forEach(show);
