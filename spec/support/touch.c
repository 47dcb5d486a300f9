/* The device "test" alone: copies go there and back, and a host that touches its memory is ended.
 * Run by spec/core/devices_spec.lua. */
#include "../../src/device_test.c"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

tide_device *tide_cpu(void) {
    static tide_device cpu;
    return &cpu;
}

void tide_device_join(tide_device *dev) { (void)dev; } /* no other device is here */

/* The signal that ends a process which reads or writes there; 0: none. */
static int ended_by(volatile char *p, int writes) {
    const pid_t child = fork();
    int status = 0;
    if (child == 0) {
        if (writes) *p = 1;
        else (void)*p;
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int main(void) {
    tide_device *dev = tide_test_device();
    if (!dev) return puts("no memory"), 1;
    char out[100] = "elements", in[100] = {0};
    char *p = dev->vt->alloc(dev, sizeof out), *q = dev->vt->alloc(dev, 1 << 22);
    if (!p || !q || p == q) return puts("alloc"), 1;
    dev->vt->copy(dev, p, out, sizeof out, TIDE_FROM_HOST);
    dev->vt->copy(dev, in, p, sizeof in, TIDE_TO_HOST);
    if (strcmp(in, "elements") != 0 || strcmp(p + dev->seen, "elements") != 0)
        return puts("copy"), 1;
    tide_device_info info;
    dev->vt->info(dev, &info);
    if (info.copies_in != 1 || info.copies_out != 1 || info.bytes_in != sizeof out)
        return puts("counts"), 1;
    if (ended_by(p, 0) != SIGSEGV || ended_by(p, 1) != SIGSEGV || ended_by(p + dev->seen, 1) != 0)
        return puts("touch"), 1;
    dev->vt->free(dev, q);
    if (dev->vt->alloc(dev, 1 << 22) != q || q[dev->seen] != 0) return puts("free"), 1;
    puts("ok");
    return 0;
}
