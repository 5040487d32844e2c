/* Redoc asks its makers' host for their logo, whatever it is told, and the policy forbids that. An
   image of another host gets an address without a picture: Redoc takes away what does not load.
   React writes the address twice, as an attribute and as a property. */
(() => {
  "use strict";

  const image = HTMLImageElement.prototype;
  const stock = Object.getOwnPropertyDescriptor(image, "src");

  const ours = (address) => {
    const { protocol, origin } = new URL(address, document.baseURI);
    return protocol.startsWith("http") && origin !== location.origin ? "data:," : address;
  };
  image.setAttribute = function (name, value) {
    Element.prototype.setAttribute.call(this, name, name === "src" ? ours(value) : value);
  };
  Object.defineProperty(image, "src", {
    ...stock,
    set(value) {
      stock.set.call(this, ours(value));
    },
  });
})();
