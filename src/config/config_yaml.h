/*
 * Between libyaml and the configuration: one checked YAML document, and sentences about its nodes.
 *
 * The text passes libyaml twice. The first pass looks at events only and refuses what could make
 * the second one expensive: deep nesting, and thousands of anchors and aliases. The second builds
 * libyaml's document, in which an alias is the node that it names, never a copy of it; so the work
 * of a reader with a fixed schema is bounded by the size of the text.
 */
#ifndef CONVOY_CONFIG_CONFIG_YAML_H
#define CONVOY_CONFIG_CONFIG_YAML_H

#include <yaml.h>

#include "base/compiler.h"
#include "base/error.h"

enum {
    CONFIG_TEXT_BYTES_MAX = 1 << 20, /* longest text that is looked at */
    CONFIG_DEPTH_MAX = 16,           /* mappings and sequences in each other */
    CONFIG_ANCHORS_MAX = 1000,       /* anchors and aliases together */
    CONFIG_PATH_BYTES_MAX = 64,      /* "bridge.static[4095].port" */
};

struct config_yaml {
    const char *name;         /* of the text, in sentences; the caller's */
    struct error *error;      /* where sentences go; the caller's */
    yaml_document_t document; /* owned */
};

/* -EINVAL (not a YAML document that we read), -EFBIG, -ENOMEM, each with a sentence. */
int config_yaml_init(struct config_yaml *yaml, const char *text, size_t text_len, const char *name,
                     struct error *error) CV_MUST_CHECK;
void config_yaml_uninit(struct config_yaml *yaml);

/* NULL for an empty document. */
const yaml_node_t *config_yaml_root(struct config_yaml *yaml);
const yaml_node_t *config_yaml_node(struct config_yaml *yaml, int id);

/*
 * Sets the sentence "NAME:LINE:COLUMN: PATH: ..." for the place where the node begins and returns
 * -EINVAL. An empty path is left out.
 */
int config_yaml_error(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                      const char *format, ...) CV_PRINTF(4, 5);

/* A value left empty, `~` or `null`: stands for an empty mapping or sequence. */
bool config_yaml_is_null(const yaml_node_t *node);

/* The text of a scalar, which lives as long as the document. -EINVAL with a sentence. */
int config_yaml_scalar(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                       const char **ret_text) CV_MUST_CHECK;

/* How many elements a sequence has; an empty value has none. -EINVAL with a sentence. */
int config_yaml_sequence(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                         unsigned count_max, unsigned *ret_count) CV_MUST_CHECK;
/* An element of a node that config_yaml_sequence has accepted. */
const yaml_node_t *config_yaml_element(struct config_yaml *yaml, const yaml_node_t *node,
                                       unsigned index);

/* A key that a mapping may have. `read` gets the value, its path, and what the caller passed. */
struct config_yaml_key {
    const char *name;
    int (*read)(struct config_yaml *yaml, const yaml_node_t *value, const char *path,
                void *context);
};

/*
 * Reads a mapping by a table of at most 32 keys, in the order of the file. -EINVAL with a sentence:
 * not a mapping, a key that is not in the table or that comes twice; or what `read` returned.
 */
int config_yaml_mapping(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                        const struct config_yaml_key *keys, unsigned key_count,
                        void *context) CV_MUST_CHECK;

#endif
