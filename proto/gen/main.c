/* main.c - protoc-gen-trireme: a protoc plugin that turns proto/ into the C
 * structs and tables of lib/api/schema.h. Reads a CodeGeneratorRequest from
 * stdin and writes a CodeGeneratorResponse to stdout. */
#include "proto/gen/describe.h"
#include "proto/gen/emit.h"
#include "proto/gen/model.h"

#include "plugin.pb-c.h"

#include "lib/base/buf.h"

#include <stdio.h>
#include <unistd.h>

static void read_all(int fd, struct buf *ret)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(ret, 65536), 65536);
        if (n < 0)
            gen_fail("cannot read the request");
        if (n == 0)
            return;
        buf_commit(ret, (size_t)n);
    }
}

static void add_file(plugin_response *r, char *name, struct buf *content)
{
    plugin_file *f = xmalloc(sizeof(*f));
    google__protobuf__compiler__code_generator_response__file__init(f);
    f->name = name;
    f->content = buf_steal(content, NULL);
    r->file = xrealloc(r->file, sizeof(plugin_file *) * (r->n_file + 1));
    r->file[r->n_file++] = f;
}

int main(void)
{
    struct buf in = BUF_INIT, out = BUF_INIT;
    read_all(STDIN_FILENO, &in);
    plugin_request *request =
        google__protobuf__compiler__code_generator_request__unpack(NULL, in.len, in.data);
    if (request == NULL)
        gen_fail("damaged request");
    struct model *model = model_build(request);
    struct descriptions *descriptions = descriptions_read(request->parameter);
    descriptions_apply(descriptions, model);

    plugin_response response = GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__INIT;
    for (size_t i = 0; i < model->file_count; i++) {
        struct file *f = &model->files[i];
        emit_header(f, &out);
        add_file(&response, xasprintf("api/%s.h", f->c_name), &out);
        emit_tables(f, &out);
        add_file(&response, xasprintf("api/%s.c", f->c_name), &out);
    }
    emit_scheme(model, &out);
    add_file(&response, xstrdup("api/scheme_table.c"), &out);
    emit_descriptions(descriptions, &out);
    add_file(&response, xstrdup("api/descriptions.c"), &out);

    size_t size = google__protobuf__compiler__code_generator_response__get_packed_size(&response);
    uint8_t *packed = xmalloc(size);
    google__protobuf__compiler__code_generator_response__pack(&response, packed);
    if (fwrite(packed, 1, size, stdout) != size || fflush(stdout) != 0)
        gen_fail("cannot write the response");
    return 0;
}
