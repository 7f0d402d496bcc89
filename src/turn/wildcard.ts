/** The longest rule that is compared; a longer one fits nothing. Upstream's are the beginnings of commands. */
const maxRuleLength = 256;

/**
 * As upstream matches a rule: `*` any characters, `?` one, and `ls *` also `ls` (OpenCode 1.18.33). Costs the product of
 * both lengths at most, whatever stars there are: both texts are the agent's or the server's.
 */
export function matches(rule: string, text: string): boolean {
  if (rule.length > maxRuleLength) return false;
  return fits(rule, text) || (rule.endsWith(' *') && fits(rule.slice(0, -2), text));
}

/** Only the last star is ever gone back to: whatever an earlier one could take, that one can take too. */
function fits(rule: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let taken = 0;
  for (let read = 0; read < text.length; ) {
    if (rule[at] === '*') {
      star = at;
      taken = read;
      at += 1;
    } else if (rule[at] === '?' || rule[at] === text[read]) {
      at += 1;
      read += 1;
    } else if (star >= 0) {
      at = star + 1;
      taken += 1;
      read = taken;
    } else return false;
  }
  while (rule[at] === '*') at += 1;
  return at === rule.length;
}
