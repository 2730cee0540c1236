/** What the page that runs the library decides. The object `gotalk` shows these as its own properties. */
export const env = {
  developmentMode: false,
  /** Where open() and connection() go without an address. Empty when unknown. */
  defaultResponderAddress: "",
};
