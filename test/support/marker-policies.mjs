/** Policies of a host that calls a service of its own with secrets in every corner of the call, and whose hook throws. */
const { MARKERS = '{}', TEST_DIRECTORY, TEST_SERVICE } = process.env;
const marks = JSON.parse(MARKERS);

export default {
  default: {
    model: 'scripted/scripted',
    directory: () => TEST_DIRECTORY,
    system: async () => {
      const url = new URL(`/bot${marks.urlPath}/send?token=${marks.urlQuery}`, TEST_SERVICE);
      await fetch(url, { headers: { 'x-api-key': marks.header } });
      return marks.system;
    },
    onTurnFinished: () => {
      throw Object.assign(new Error(marks.hookError), { name: `E ${marks.hookError}` });
    },
  },
};
