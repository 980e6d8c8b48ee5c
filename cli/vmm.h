/*
 * What to give to a virtual machine monitor so that its guest is plugged into a port: exactly the
 * words to paste, on standard output. Remarks go to standard error, so that output can be
 * substituted into a command line.
 *
 * Sources: QEMU, "Invocation"; libvirt, "Domain XML format"; Linux, arch/um/drivers/virtio_uml.c;
 * Cloud Hypervisor, docs/device_model.md and its --help.
 */
#ifndef CONVOY_CLI_VMM_H
#define CONVOY_CLI_VMM_H

#include "cli.h"

/* Whether there is such a VMM; the sentence has been printed if not. */
enum cli_exit vmm_check(const char *name);

/* Prints for the port, a result of port.show. `memory`: the guest's memory; NULL: not told. */
enum cli_exit vmm_print(const char *vmm, const json_t *port, const char *memory);

/* The names of all VMMs, for help: "qemu, libvirt, ...". */
const char *vmm_names(void);

#endif
