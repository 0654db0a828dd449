<?php
// Counts the visit in Redis, stores it in MariaDB, and shows what both know of it.
declare(strict_types=1);

function setting(string $name): string
{
    $value = getenv($name);
    if ($value === false) {
        throw new RuntimeException("the environment has no $name");
    }
    return $value;
}

function count_in_redis(): int
{
    $redis = new Redis();
    $redis->connect(setting('CACHE_HOST'), 6379, 2.0);
    $redis->auth(setting('CACHE_PASSWORD'));
    return $redis->incr('visits');
}

function store_in_mariadb(string $address): int
{
    $source = 'mysql:host=' . setting('DB_HOST') . ';dbname=' . setting('DB_NAME') . ';charset=utf8mb4';
    $database = new PDO($source, setting('DB_USER'), setting('DB_PASSWORD'), [PDO::ATTR_TIMEOUT => 2]);
    $database->prepare('INSERT INTO visit (address) VALUES (?)')->execute([$address]);
    return (int) $database->query('SELECT COUNT(*) FROM visit')->fetchColumn();
}

$address = $_SERVER['REMOTE_ADDR'];
try {
    $counted = count_in_redis();
    $stored = store_in_mariadb($address);
} catch (Exception $error) {
    error_log((string) $error);
    http_response_code(503);
    header('Content-Type: text/plain; charset=utf-8');
    exit("A server behind this page does not answer. Its log says more: pycompose logs app\n");
}
?>
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Visits</title></head>
<body>
<h1>Visits</h1>
<p>Redis has counted <b id="counted"><?= $counted ?></b>.</p>
<p>MariaDB has stored <b id="stored"><?= $stored ?></b>.</p>
<p>You come from <code id="address"><?= htmlspecialchars($address) ?></code>.</p>
</body>
</html>
