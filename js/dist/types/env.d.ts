/** What the page that runs the library decides. The object `gotalk` shows these as its own properties. */
export declare const env: {
    developmentMode: boolean;
    /** Where open() and connection() go without an address. Empty when unknown. */
    defaultResponderAddress: string;
};
