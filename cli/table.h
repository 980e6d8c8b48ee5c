/* Rows of words under headings, aligned, on standard output. */
#ifndef CONVOY_CLI_TABLE_H
#define CONVOY_CLI_TABLE_H

#include "base/compiler.h"

enum { TABLE_COLUMNS_MAX = 10, TABLE_LINE_COLUMNS = 100 };

struct table_column {
    const char *heading; /* "" for a table without headings; NULL ends the columns */
    bool is_number;      /* aligned to the right */
};

struct table; /* owns copies of its cells */

/* `columns` ends with a NULL heading and must outlive the table. Ends the program when memory is
 * short. */
struct table *table_new(const struct table_column *columns);
void table_free(struct table *table);

/* Appends a cell, row by row from the left; the text is copied. */
void table_add(struct table *table, const char *text);

/* Prints everything, each line after `indent` spaces. */
void table_print(const struct table *table, unsigned indent);

/* Prints "LABEL  words words ..." with words wrapped at TABLE_LINE_COLUMNS under their first. */
void table_print_wrapped(unsigned indent, unsigned label_width, const char *label,
                         const char *const *words, size_t word_count);

#endif
