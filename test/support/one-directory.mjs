/** The policies of a test's worker process whose records share one directory: upstream starts each one anew, which takes seconds. */
export default {
  default: { model: 'scripted/scripted', directory: () => process.env.TEST_DIRECTORY },
};
