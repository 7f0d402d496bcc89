/** One shape of a todo everywhere; upstream and models write `in-progress` in several ways. */
export interface Todo {
  readonly content: string;
  readonly status: 'pending' | 'in_progress' | 'completed' | 'cancelled';
  readonly priority?: string;
}

const statuses = new Set(['pending', 'in_progress', 'completed', 'cancelled']);

/** Entries that are no todos are left out. Never throws. */
export function parseTodos(value: unknown): Todo[] {
  return Array.isArray(value) ? value.flatMap(parseTodo) : [];
}

function parseTodo(value: unknown): Todo[] {
  if (typeof value !== 'object' || value === null) return [];
  const { content, status, priority } = value as Record<string, unknown>;
  if (typeof content !== 'string') return [];
  const known = String(status ?? 'pending')
    .toLowerCase()
    .replace(/[\s-]+/g, '_');
  return [
    {
      content,
      status: (statuses.has(known) ? known : 'pending') as Todo['status'],
      ...(typeof priority === 'string' ? { priority } : {}),
    },
  ];
}
