/* links: name_cache.c */
#include "unit.h"

#include "http/name_cache.h"

#include <stdio.h>

/* A request with these names; as py_environ.c does, but nothing but their bytes is kept. */
struct request_names {
    const char *names[400];
    size_t count;
};

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

static struct name_cache_entry *find(struct name_cache *cache, const char *name)
{
    return name_cache_find(cache, name, strlen(name), hash_of(name));
}

/* How many of the names are kept. */
static size_t serve(struct name_cache *cache, const struct request_names *request)
{
    static char value;
    size_t kept = 0;
    name_cache_begin(cache);
    for (size_t i = 0; i < request->count; i++) {
        const char *name = request->names[i];
        struct name_cache_entry *entry = find(cache, name);
        if (entry == NULL && (entry = name_cache_take(cache)) != NULL)
            name_cache_put(cache, entry, (void *)(uintptr_t)name, name, strlen(name),
                           hash_of(name));
        if (entry == NULL)
            continue;
        entry->generation = cache->generation;
        entry->value = &value;
        kept++;
    }
    for (size_t i = 0; i < NAME_CACHE_MAX; i++)
        if (cache->entries[i].generation != cache->generation)
            cache->entries[i].value = NULL;
    return kept;
}

static struct request_names make_names(char texts[][16], const char *prefix, unsigned first,
                                       size_t count)
{
    struct request_names request = {.count = count};
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i], 16, "%s%zu", prefix, first + i);
        request.names[i] = texts[i];
    }
    return request;
}

/* Each name is found once, and by no more steps than there are names. */
static void assert_whole(struct name_cache *cache)
{
    size_t linked = 0, named = 0;
    for (size_t i = 0; i < NAME_CACHE_BUCKETS; i++)
        for (unsigned j = cache->buckets[i]; j != 0; j = cache->entries[j - 1].next)
            assert_true(++linked <= NAME_CACHE_MAX);
    for (size_t i = 0; i < NAME_CACHE_MAX; i++) {
        const struct name_cache_entry *entry = &cache->entries[i];
        if (entry->name == NULL)
            continue;
        named++;
        assert_ptr_equal(find(cache, entry->name), entry);
    }
    assert_int_equal(linked, named);
}

static void test_the_names_of_all_requests_are_kept(void **state)
{
    (void)state;
    struct name_cache cache = {0};
    char texts[40][16];
    struct request_names request = make_names(texts, "NAME_", 0, 40);
    assert_int_equal(serve(&cache, &request), NAME_CACHE_NEW_MAX);
    serve(&cache, &request);
    for (int i = 0; i < 200; i++)
        assert_int_equal(serve(&cache, &request), 40);
    assert_null(find(&cache, "NAME_40"));
    assert_null(find(&cache, "NAME_"));
    assert_whole(&cache);
}

static void test_names_that_clients_choose_do_not_displace_those_of_all_requests(void **state)
{
    (void)state;
    struct name_cache cache = {0};
    static char usual_texts[30][16], odd_texts[300][300][16];
    struct request_names usual = make_names(usual_texts, "NAME_", 0, 30);
    serve(&cache, &usual);
    serve(&cache, &usual);
    for (unsigned i = 0; i < 300; i++) {
        struct request_names odd = make_names(odd_texts[i], "HTTP_", 300 * i, 300);
        /* The web server's own names come with them. */
        for (size_t j = 0; j < usual.count; j++)
            odd.names[odd.count++] = usual.names[j];
        assert_true(serve(&cache, &odd) <= NAME_CACHE_MAX);
        assert_int_equal(serve(&cache, &usual), 30);
        assert_whole(&cache);
    }
}

static void test_names_that_came_first_make_room_when_they_come_no_more(void **state)
{
    (void)state;
    struct name_cache cache = {0};
    static char usual_texts[30][16], odd_texts[320][16];
    struct request_names odd = make_names(odd_texts, "HTTP_", 0, 320);
    struct request_names usual = make_names(usual_texts, "NAME_", 0, 30);
    for (int i = 0; i < 100; i++)
        serve(&cache, &odd);
    assert_int_equal(serve(&cache, &odd), NAME_CACHE_MAX);
    assert_int_equal(serve(&cache, &usual), 0);
    for (int i = 0; i < NAME_CACHE_AGE + 3; i++)
        serve(&cache, &usual);
    assert_int_equal(serve(&cache, &usual), 30);
    assert_whole(&cache);
}

static void test_a_request_brings_in_few_names(void **state)
{
    (void)state;
    struct name_cache cache = {0};
    static char texts[320][16];
    struct request_names odd = make_names(texts, "HTTP_", 0, 320);
    for (size_t i = 1; i <= 3; i++)
        assert_int_equal(serve(&cache, &odd), i * NAME_CACHE_NEW_MAX);
    assert_whole(&cache);
}

static void test_a_full_cache_is_looked_through_once_a_request(void **state)
{
    (void)state;
    struct name_cache cache = {0};
    static char texts[320][16];
    struct request_names odd = make_names(texts, "HTTP_", 0, 320);
    for (int i = 0; i < 10; i++)
        serve(&cache, &odd);
    assert_true(cache.is_full);
    name_cache_begin(&cache);
    assert_false(cache.is_full);
    assert_null(name_cache_take(&cache));
    assert_true(cache.is_full);
    cache.entries[0].name = NULL; /* would be free, but nobody looks */
    assert_null(name_cache_take(&cache));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_names_of_all_requests_are_kept),
        cmocka_unit_test(test_names_that_clients_choose_do_not_displace_those_of_all_requests),
        cmocka_unit_test(test_names_that_came_first_make_room_when_they_come_no_more),
        cmocka_unit_test(test_a_request_brings_in_few_names),
        cmocka_unit_test(test_a_full_cache_is_looked_through_once_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
