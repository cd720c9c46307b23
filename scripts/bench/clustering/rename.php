<?php
// Prints the script on standard input with the classes and functions it declares called otherwise, as if
// somebody else had run into the same bug. Methods keep their names: the engine knows some of them.
$tokens = token_get_all(stream_get_contents(STDIN));
$suffix = $argv[1];
$names = $method = [];
$depth = 0;
$class = [];
$pending = false;
$last = null;
foreach ($tokens as $at => $token) {
    $id = is_array($token) ? $token[0] : $token;
    $method[$at] = $class && $last === T_FUNCTION;
    if ($id === T_WHITESPACE || $id === T_COMMENT || $id === T_DOC_COMMENT) {
        continue;
    }
    if (in_array($id, [T_CLASS, T_INTERFACE, T_TRAIT], true) && $last !== T_DOUBLE_COLON) {
        $pending = true;
    } elseif ($id === T_STRING && in_array($last, [T_CLASS, T_INTERFACE, T_TRAIT], true)) {
        $names[$token[1]] = 'class';
    } elseif ($id === T_STRING && $last === T_FUNCTION && !$class && $depth === 0) {
        $names[$token[1]] = 'function';
    }
    if ($id === '{' || $id === T_CURLY_OPEN || $id === T_DOLLAR_OPEN_CURLY_BRACES) {
        $depth++;
        if ($pending) {
            $class[] = $depth;
            $pending = false;
        }
    } elseif ($id === '}') {
        if ($class && end($class) === $depth) {
            array_pop($class);
        }
        $depth--;
    }
    $last = $id === '&' ? $last : $id;
}
$last = null;
foreach ($tokens as $at => $token) {
    [$id, $text] = is_array($token) ? $token : [$token, $token];
    if ($id === T_STRING && isset($names[$text]) && !$method[$at] && $last !== T_OBJECT_OPERATOR
        && ($names[$text] === 'class' || $last !== T_DOUBLE_COLON)) {
        $text .= $suffix;
    } elseif ($id === T_CONSTANT_ENCAPSED_STRING && isset($names[substr($text, 1, -1)])) {
        $text = substr($text, 0, -1) . $suffix . $text[0];
    }
    echo $text;
    if ($id !== T_WHITESPACE) {
        $last = $id;
    }
}
