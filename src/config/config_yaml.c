#include "config/config_yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "config/scalar.h"

/* -- Sentences about the text as a whole. -- */

static int error_at(struct config_yaml *yaml, size_t line, size_t column, const char *format, ...)
    CV_PRINTF(4, 5);

/* Line and column count from 0, as libyaml's do. */
static int error_at(struct config_yaml *yaml, size_t line, size_t column, const char *format, ...)
{
    char sentence[sizeof(yaml->error->text)];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    return error_set(yaml->error, -EINVAL, "%s:%zu:%zu: %s", yaml->name, line + 1, column + 1,
                     sentence);
}

/* The same for a byte of the text that libyaml gave no line for. */
static int error_at_byte(struct config_yaml *yaml, const char *text, size_t offset,
                         const char *sentence)
{
    size_t line = 0;
    size_t line_start = 0;

    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    return error_at(yaml, line, offset - line_start, "%s", sentence);
}

/* Whether a line (counted from 0) is indented with a tab, the mistake that libyaml words worst. */
static bool line_has_tab(const char *text, size_t text_len, size_t line)
{
    const char *end = text + text_len;

    for (; line > 0 && text != NULL; line--) {
        text = memchr(text, '\n', (size_t)(end - text));
        text = text == NULL ? NULL : text + 1;
    }
    while (text != NULL && text < end && *text == ' ')
        text++;
    return text != NULL && text < end && *text == '\t';
}

static int parser_error(struct config_yaml *yaml, const yaml_parser_t *parser, const char *text,
                        size_t text_len)
{
    const yaml_mark_t *mark = &parser->problem_mark;
    const char *problem = parser->problem == NULL ? "unknown trouble" : parser->problem;

    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(yaml->error, -ENOMEM, "%s: not enough memory to read it", yaml->name);
    if (parser->error == YAML_READER_ERROR) {
        size_t offset = CV_MIN(parser->problem_offset, text_len);

        return error_at_byte(yaml, text, offset, "not a text in UTF-8");
    }
    if (line_has_tab(text, text_len, mark->line))
        return error_at(yaml, mark->line, mark->column,
                        "not YAML: the line is indented with a tab; use spaces");
    if (parser->context == NULL)
        return error_at(yaml, mark->line, mark->column, "not YAML: %s", problem);
    return error_at(yaml, mark->line, mark->column, "not YAML: %s (%s)", problem, parser->context);
}

/* -- First pass: events only. -- */

struct survey {
    unsigned depth;
    unsigned anchors; /* and aliases */
    unsigned documents;
};

static int survey_event(struct config_yaml *yaml, const yaml_event_t *event, struct survey *survey)
{
    const yaml_mark_t *mark = &event->start_mark;

    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++survey->documents > 1)
            return error_at(yaml, mark->line, mark->column,
                            "a second document begins; a configuration is one");
        break;
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        if (++survey->depth > CONFIG_DEPTH_MAX)
            return error_at(yaml, mark->line, mark->column,
                            "nested more than %d deep; no configuration needs that",
                            CONFIG_DEPTH_MAX);
        survey->anchors += event->type == YAML_MAPPING_START_EVENT
                               ? event->data.mapping_start.anchor != NULL
                               : event->data.sequence_start.anchor != NULL;
        break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        survey->depth--;
        break;
    case YAML_SCALAR_EVENT:
        survey->anchors += event->data.scalar.anchor != NULL;
        break;
    case YAML_ALIAS_EVENT:
        survey->anchors++;
        break;
    default:
        break;
    }
    if (survey->anchors > CONFIG_ANCHORS_MAX)
        return error_at(yaml, mark->line, mark->column, "more than %d anchors and aliases",
                        CONFIG_ANCHORS_MAX);
    return 0;
}

static int survey_text(struct config_yaml *yaml, const char *text, size_t text_len)
{
    struct survey survey = {0};
    yaml_parser_t parser;
    yaml_event_t event;
    bool at_end = false;
    int result = 0;

    if (yaml_parser_initialize(&parser) == 0)
        return error_set(yaml->error, -ENOMEM, "%s: not enough memory to read it", yaml->name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, text_len);
    while (result == 0 && !at_end) {
        if (yaml_parser_parse(&parser, &event) == 0) {
            result = parser_error(yaml, &parser, text, text_len);
        } else {
            result = survey_event(yaml, &event, &survey);
            at_end = event.type == YAML_STREAM_END_EVENT;
            yaml_event_delete(&event);
        }
    }
    yaml_parser_delete(&parser);
    return result;
}

/* -- Second pass: the document. -- */

int config_yaml_init(struct config_yaml *yaml, const char *text, size_t text_len, const char *name,
                     struct error *error)
{
    const char *nul = text_len == 0 ? NULL : memchr(text, '\0', text_len);
    yaml_parser_t parser;
    int result;

    yaml->name = name;
    yaml->error = error;
    if (text_len > CONFIG_TEXT_BYTES_MAX)
        return error_set(error, -EFBIG, "%s: larger than 1 MiB; no configuration needs that", name);
    if (nul != NULL)
        return error_at_byte(yaml, text, (size_t)(nul - text), "a NUL byte; not a text in UTF-8");
    result = survey_text(yaml, text, text_len);
    if (result != 0)
        return result;
    if (yaml_parser_initialize(&parser) == 0)
        return error_set(error, -ENOMEM, "%s: not enough memory to read it", name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, text_len);
    if (yaml_parser_load(&parser, &yaml->document) == 0)
        result = parser_error(yaml, &parser, text, text_len);
    yaml_parser_delete(&parser);
    return result;
}

void config_yaml_uninit(struct config_yaml *yaml)
{
    yaml_document_delete(&yaml->document);
}

const yaml_node_t *config_yaml_root(struct config_yaml *yaml)
{
    return yaml_document_get_root_node(&yaml->document);
}

const yaml_node_t *config_yaml_node(struct config_yaml *yaml, int id)
{
    return yaml_document_get_node(&yaml->document, id);
}

/* -- Nodes. -- */

int config_yaml_error(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                      const char *format, ...)
{
    char sentence[sizeof(yaml->error->text)];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    return error_at(yaml, node->start_mark.line, node->start_mark.column, "%s%s%s", path,
                    path[0] == '\0' ? "" : ": ", sentence);
}

static const char *node_kind(const yaml_node_t *node)
{
    return node->type == YAML_MAPPING_NODE    ? "a mapping of keys"
           : node->type == YAML_SEQUENCE_NODE ? "a list"
                                              : "a single value";
}

bool config_yaml_is_null(const yaml_node_t *node)
{
    const char *text;

    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    text = (const char *)node->data.scalar.value;
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

int config_yaml_scalar(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                       const char **ret_text)
{
    const char *text;

    if (node->type != YAML_SCALAR_NODE)
        return config_yaml_error(yaml, node, path, "expected a single value, not %s",
                                 node_kind(node));
    text = (const char *)node->data.scalar.value;
    if (strlen(text) != node->data.scalar.length)
        return config_yaml_error(yaml, node, path, "holds a NUL character");
    *ret_text = text;
    return 0;
}

int config_yaml_sequence(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                         unsigned count_max, unsigned *ret_count)
{
    size_t count = 0;

    if (!config_yaml_is_null(node)) {
        if (node->type != YAML_SEQUENCE_NODE)
            return config_yaml_error(yaml, node, path, "expected a list, not %s", node_kind(node));
        count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    }
    if (count > count_max)
        return config_yaml_error(yaml, node, path, "has %zu entries; at most %u are possible",
                                 count, count_max);
    *ret_count = (unsigned)count;
    return 0;
}

const yaml_node_t *config_yaml_element(struct config_yaml *yaml, const yaml_node_t *node,
                                       unsigned index)
{
    return config_yaml_node(yaml, node->data.sequence.items.start[index]);
}

static int unknown_key(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                       const struct config_yaml_key *keys, unsigned key_count)
{
    const char *key = (const char *)node->data.scalar.value;
    char quoted[QUOTED_TEXT_BYTES];
    char hint[QUOTED_TEXT_BYTES + 32];
    struct nearest nearest;

    nearest_init(&nearest, key);
    for (unsigned i = 0; i < key_count; i++)
        nearest_offer(&nearest, keys[i].name);
    return config_yaml_error(yaml, node, path, "%s is not a key here%s", text_quote(key, quoted),
                             nearest_format(&nearest, hint, sizeof(hint)));
}

/* The table's index of a key, or a negative errno. */
static int find_key(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                    const struct config_yaml_key *keys, unsigned key_count)
{
    const char *key = "";
    int result = config_yaml_scalar(yaml, node, path, &key);

    if (result != 0)
        return result;
    for (unsigned i = 0; i < key_count; i++) {
        if (strcmp(key, keys[i].name) == 0)
            return (int)i;
    }
    return unknown_key(yaml, node, path, keys, key_count);
}

int config_yaml_mapping(struct config_yaml *yaml, const yaml_node_t *node, const char *path,
                        const struct config_yaml_key *keys, unsigned key_count, void *context)
{
    const yaml_node_pair_t *pair;
    uint32_t seen = 0;
    int result = 0;

    assert(key_count <= 32);
    if (config_yaml_is_null(node))
        return 0;
    if (node->type != YAML_MAPPING_NODE)
        return config_yaml_error(yaml, node, path, "expected a mapping of keys, not %s",
                                 node_kind(node));
    for (pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = config_yaml_node(yaml, pair->key);
        char key_path[CONFIG_PATH_BYTES_MAX];
        int index = find_key(yaml, key, path, keys, key_count);

        if (index < 0)
            return index;
        (void)snprintf(key_path, sizeof(key_path), "%s%s%s", path, path[0] == '\0' ? "" : ".",
                       keys[index].name);
        if ((seen >> index & 1) != 0)
            return config_yaml_error(yaml, key, key_path, "is given twice");
        seen |= 1u << index;
        result = keys[index].read(yaml, config_yaml_node(yaml, pair->value), key_path, context);
        if (result != 0)
            return result;
    }
    return result;
}
