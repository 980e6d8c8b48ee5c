#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum { COLUMN_GAP = 2 };

struct table {
    const struct table_column *columns;
    unsigned column_count;
    size_t cell_count, cell_room;
    char **cells; /* owned, row by row */
};

static void *or_exit(void *memory)
{
    if (memory)
        return memory;
    fputs("convoy: no memory\n", stderr);
    exit(1);
}

struct table *table_new(const struct table_column *columns)
{
    struct table *table = or_exit(calloc(1, sizeof(*table)));

    table->columns = columns;
    while (columns[table->column_count].heading)
        table->column_count++;
    assert(table->column_count >= 1 && table->column_count <= TABLE_COLUMNS_MAX);
    return table;
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

void table_add(struct table *table, const char *text)
{
    if (table->cell_count == table->cell_room) {
        table->cell_room = table->cell_room * 2 + 64;
        table->cells = or_exit(realloc(table->cells, table->cell_room * sizeof(*table->cells)));
    }
    table->cells[table->cell_count++] = or_exit(strdup(text));
}

/* Places on the screen, not bytes: "µ" has two of these and takes one of those. */
static int columns_of(const char *text)
{
    int columns = 0;

    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

static void measure(const struct table *table, int *widths)
{
    assert(table->column_count > 0);
    for (unsigned c = 0; c < table->column_count; c++)
        widths[c] = columns_of(table->columns[c].heading);
    for (size_t i = 0; i < table->cell_count; i++) {
        unsigned c = (unsigned)(i % table->column_count);

        widths[c] = CV_MAX(widths[c], columns_of(table->cells[i]));
    }
}

static void print_cell(const struct table *table, unsigned column, const char *text, int width)
{
    bool is_last = column + 1 == table->column_count;
    int padding = width - columns_of(text);

    if (table->columns[column].is_number)
        printf("%*s%s", padding, "", text);
    else
        printf("%s%*s", text, is_last ? 0 : padding, "");
    printf("%*s", is_last ? 0 : COLUMN_GAP, "");
    if (is_last)
        putchar('\n');
}

void table_print(const struct table *table, unsigned indent)
{
    int widths[TABLE_COLUMNS_MAX];

    assert(table->column_count > 0);
    measure(table, widths);
    if (table->columns[0].heading[0]) {
        printf("%*s", (int)indent, "");
        for (unsigned c = 0; c < table->column_count; c++)
            print_cell(table, c, table->columns[c].heading, widths[c]);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        unsigned c = (unsigned)(i % table->column_count);

        if (c == 0)
            printf("%*s", (int)indent, "");
        print_cell(table, c, table->cells[i], widths[c]);
    }
}

void table_print_wrapped(unsigned indent, unsigned label_width, const char *label,
                         const char *const *words, size_t word_count)
{
    int start = (int)(indent + label_width + COLUMN_GAP), at = start;

    printf("%*s%-*s%*s", (int)indent, "", (int)label_width, label, COLUMN_GAP, "");
    for (size_t i = 0; i < word_count; i++) {
        int width = columns_of(words[i]);

        if (at > start && at + 1 + width > TABLE_LINE_COLUMNS) {
            printf("\n%*s", start, "");
            at = start;
        }
        at += printf("%s%s", at > start ? " " : "", words[i]);
    }
    putchar('\n');
}
