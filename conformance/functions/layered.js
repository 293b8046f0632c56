// Tells what its layers gave it: a module by name, and the files it is asked for.
const fs = require("fs");

exports.handler = async (event) => {
  const read = (path) => {
    try {
      return fs.readFileSync(path, "utf8");
    } catch (error) {
      return error.code;
    }
  };
  const files = Object.fromEntries((event.files || []).map((path) => [path, read(path)]));
  let module = null;
  try {
    module = require("shared");
  } catch (error) {
    module = error.code;
  }
  let written = null;
  try {
    fs.writeFileSync("/opt/written", "x");
  } catch (error) {
    written = error.code;
  }
  return { module, files, written };
};
