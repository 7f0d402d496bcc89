/**
 * The agent writes data, the host makes a page of it. The page may be shown on the product's own origin; whatever
 * else wears its name is no page of ours and is never attached.
 */
import { configFromEnv, connect, Transform } from 'opencode-turns';
import { downloadHeaders } from 'opencode-turns/web';

const escaped = (text: unknown) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

const report = new Transform({
  sourceFilename: 'report.json',
  destinationFilename: 'report.html',
  contentType: 'text/html; charset=utf-8',
  inline: true,
  render: async (file) => {
    const { title, rows } = JSON.parse(String(await file.content()));
    if (!Array.isArray(rows)) throw new Error('rows must be a list');
    const items = rows.map((row) => `<li>${escaped(row)}</li>`).join('');
    return { content: `<h1>${escaped(title)}</h1><ul>${items}</ul>` };
  },
});

const turns = await connect(configFromEnv());
await turns.createIndexes();
const model = process.env.OPENCODE_TURNS_MODEL ?? 'scripted/scripted';
await turns.work({ policies: { reports: { model, transforms: [report] } } });

const conversation = await turns.models.Conversation.create({ title: 'Report' });
const text = 'Write report.json: { "title": …, "rows": [ … ] }';
const { id } = await turns.enqueue({ conversation, text, policy: 'reports' });
for await (const entry of turns.follow(id)) if (entry.type === 'finished') console.log(entry.status);

for (const file of (await turns.get(id))?.artifacts ?? []) {
  console.log(downloadHeaders(file)['content-disposition']);
  for await (const bytes of turns.files.read(file.fileId)) console.log(Buffer.from(bytes).toString());
}
await turns.close();
