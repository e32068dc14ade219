// A page that was opened from a folder may not start a worker, so the search's runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.title = "search"
      this.waiting = []
      document.body.append(frame)
      const inside = frame.contentWindow
      const script = inside.document.createElement("script")
      script.src = new URL(url, document.baseURI)
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      script.onload = () => {
        this.deliver = data => inside.dispatchEvent(new inside.MessageEvent("message", { data }))
        this.waiting.splice(0).forEach(this.deliver)
      }
      script.onerror = () => this.dispatchEvent(new ErrorEvent("error", { message: `cannot load ${url}` }))
      inside.document.head.append(script)
    }
    postMessage(data) {
      this.deliver ? this.deliver(data) : this.waiting.push(data)
    }
    terminate() {}
  }
}
